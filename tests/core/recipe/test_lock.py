"""The lock holds every resolved value and where it came from, and is enough to train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from stoker import PluginConfig
from stoker.errors import StorageError, UsageError
from stoker.recipe.loading import load_recipe
from stoker.recipe.lock import read_lock, write_lock
from stoker.recipe.plugin_defaults import complete_options
from stoker.registry import make_plugins

Write = Callable[..., Path]


def test_a_lock_gives_the_same_recipe_back(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe(replace={"[plugins.demo]": "[plugins.demo]\n[plugins.lora]\nalpha = 8"})
    recipe = load_recipe(path, ["train.learning_rate=1", "train.warmup=3"])
    lock = tmp_path / "recipe.lock.json"
    write_lock(recipe, lock)
    path.unlink()
    again = read_lock(lock)
    assert again.tables == recipe.tables
    assert again.fingerprint() == recipe.fingerprint()
    assert again.origins == recipe.origins
    assert again.path == path


def test_the_file_says_where_each_value_came_from(write_recipe: Write, tmp_path: Path) -> None:
    lock = tmp_path / "recipe.lock.json"
    recipe = load_recipe(write_recipe(), ["train.batch_size=4"])
    write_lock(recipe, lock)
    content = json.loads(lock.read_text())
    assert set(content) == {"v", "recipe_path", "fingerprint", "values", "origins"}
    assert content["values"]["train"]["schedule"] == "cosine"
    assert content["origins"]["train.schedule"] == "default"
    assert content["origins"]["train.batch_size"] == "--set"
    assert content["origins"]["train.steps"] == "recipe.toml:13"
    assert content["values"]["plugins"]["demo"]["max_train_rows"] == 4096
    assert content["origins"]["plugins.demo.max_train_rows"] == "plugin:demo"
    assert lock.stat().st_mode & 0o777 == 0o600


def test_defaults_of_a_plugin_are_locked_and_what_is_written_stays(
    write_recipe: Write, tmp_path: Path
) -> None:
    table = "[plugins.lora]\nenabled = true\nalpha = 8\n[plugins.freeze]\nenabled = false\n"
    write_lock(
        load_recipe(write_recipe(replace={"[plugins.demo]": f"{table}[plugins.demo]"})),
        tmp_path / "lock",
    )
    content = json.loads((tmp_path / "lock").read_text())
    lora = content["values"]["plugins"]["lora"]
    assert (lora["enabled"], lora["rank"], lora["start_from"]) == (True, 16, None)
    # Not 8.0, though the option is a float.
    assert isinstance(lora["alpha"], int)
    assert content["values"]["plugins"]["freeze"] == {"enabled": False}
    assert content["origins"]["plugins.lora.start_from"] == "plugin:lora"
    assert "enabled" in lora
    assert "plugins.demo.enabled" not in content["origins"]
    assert make_plugins(read_lock(tmp_path / "lock").plugins)["lora"].config.alpha == 8.0


class Inner(BaseModel):
    """A table in a table."""

    depth: int = 1
    note: str | None = None


class Defaults(PluginConfig):
    """Defaults of every kind."""

    name: str = Field(default="x", validation_alias="called")
    folder: Path = Path("a/b")
    many: list[int] = Field(default_factory=lambda: [1, 2])
    pair: tuple[int, int] = (1, 2)
    inner: Inner = Inner()
    inners: list[Inner] = Field(default=[])
    wrong: int = None  # type: ignore[assignment]
    secret: SecretStr = SecretStr("s3cret")
    unbounded: float = float("inf")
    nothing: Any = (1, 2)
    enabled: bool = False
    from_name: str = ""


def test_what_json_cannot_give_back_stays_with_the_plugin() -> None:
    table = {"called": "y", "inners": [{"depth": 2}], "inner": {"note": "n"}}
    completed = complete_options(table, Defaults.model_validate(table), {})
    assert completed == {
        **table,
        "inner": {"note": "n", "depth": 1},
        "inners": [{"depth": 2, "note": None}],
        "folder": "a/b",
        "many": [1, 2],
        "pair": [1, 2],
        "from_name": "",
    }
    assert Defaults.model_validate(completed) == Defaults.model_validate(table)


def test_a_default_made_from_a_secret_is_not_locked() -> None:
    config = Defaults.model_construct(_fields_set=set(), from_name="Bearer abcdefgh")
    assert "from_name" not in complete_options({}, config, {"abcdefgh": "env:TOKEN"})


def test_locks_that_cannot_be_used_are_refused_in_words(write_recipe: Write, tmp_path: Path) -> None:
    lock = tmp_path / "recipe.lock.json"
    with pytest.raises(StorageError, match="cannot be read"):
        read_lock(lock)
    lock.write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        read_lock(lock)
    lock.write_text('{"v": 1}')
    with pytest.raises(StorageError, match="damaged"):
        read_lock(lock)
    lock.write_text('{"v": 2}')
    with pytest.raises(UsageError, match="version 2"):
        read_lock(lock)
    write_lock(load_recipe(write_recipe()), lock)
    content = json.loads(lock.read_text())
    content["values"]["train"]["from_the_future"] = 1
    lock.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"train\.from_the_future"):
        read_lock(lock)
