"""Where a plan finds what a model looks like: a plugin, a folder, the hub's cache, our table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stoker.dispatch import Hooks
from stoker.errors import UsageError
from stoker.plan.model_config import model_config
from stoker.recipe.model import Recipe
from stoker.registry import make_plugins

Find = Callable[..., Mapping[str, Any]]


@pytest.fixture
def find(recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Find:
    """The config of a recipe's model, with a hub's cache of this test's own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def config(path: str, **overrides: Any) -> Mapping[str, Any]:
        source = {"path": "someone/dataset", "format": "text"}
        recipe = recipe_of(source, model__path=path, **overrides)
        return model_config(recipe, Hooks(make_plugins(recipe.plugins)))

    return config


def snapshot(hub: Path, commit: str, config: dict[str, Any], *, reference: str = "") -> None:
    """A downloaded snapshot of `someone/model`."""
    folder = hub / "models--someone--model"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    if reference:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / reference).write_text(f"{commit}\n")


def test_a_plugin_describes_the_models_that_it_provides(find: Find) -> None:
    changes = {"plugins__demo": {}, "model__initial_weights": "random"}
    assert find("demo:tiny-llama", **changes)["model_type"] == "llama"


def test_a_folder_has_its_own_config(find: Find, tmp_path: Path) -> None:
    assert find(str(tmp_path / "model"))["hidden_size"] == 32


def test_a_folder_whose_config_is_gone_or_damaged_is_refused(
    recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = recipe_of({"path": "someone/dataset", "format": "text"})
    path = tmp_path / "model" / "config.json"
    path.write_text('{"model_type": "llama"')
    with pytest.raises(UsageError, match=r"model/config\.json: line 1, column 23"):
        model_config(recipe, Hooks({}))
    path.unlink()
    with pytest.raises(UsageError, match=r"model has no config\.json") as caught:
        model_config(recipe, Hooks({}))
    assert "Put the model's config.json there" in caught.value.hint


def test_what_was_downloaded_is_read_from_the_hub_s_cache(find: Find, tmp_path: Path) -> None:
    snapshot(tmp_path / "hub", "aaa", {"hidden_size": 1})
    snapshot(tmp_path / "hub", "bbb", {"hidden_size": 2}, reference="main")
    assert find("someone/model")["hidden_size"] == 2
    assert find("someone/model", model__revision="aaa")["hidden_size"] == 1
    with pytest.raises(UsageError, match="no model 'someone/model'"):
        find("someone/model", model__revision="ccc")


def test_well_known_models_need_no_hub(find: Find) -> None:
    assert find("meta-llama/Meta-Llama-3-8B-Instruct") == find("llama-3-8b")
    assert find("llama-3-8b")["num_hidden_layers"] == 32


def test_others_are_refused_with_the_nearest_name(find: Find) -> None:
    with pytest.raises(UsageError, match=r"no model 'qwen/qwen3-9b' is known.*qwen3-") as caught:
        find("qwen/qwen3-9b")
    assert "Give a folder with its config.json (weights need not be there)" in caught.value.hint
