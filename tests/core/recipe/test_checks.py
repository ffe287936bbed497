"""Files, names and combinations of values are checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.recipe.loading import inspect_recipe

Write = Callable[..., Path]
SOURCE = '{ path = "demo:docstrings" }'


def messages(path: Path, *overrides: str) -> dict[str, str]:
    _, problems = inspect_recipe(path, overrides)
    return {problem.key: f"{problem.message} {problem.hint}".strip() for problem in problems}


def test_data_files_must_exist_and_hold_something(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "folder").mkdir()
    names = ["./row.jsonl", "empty.jsonl", "notes.md", "folder", "rows.jsonl"]
    rows = ", ".join(f'{{ path = "{name}", format = "text" }}' for name in names)
    found = messages(write_recipe(replace={SOURCE: rows}))
    assert "does not exist. Did you mean 'rows.jsonl'?" in found["data.train.0.path"]
    assert "is empty" in found["data.train.1.path"]
    assert "no data file" in found["data.train.2.path"]
    assert "has no data file" in found["data.train.3.path"]
    assert len(found) == 4


def test_only_sources_of_plugins_know_their_format(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    found = messages(write_recipe(replace={SOURCE: f'{SOURCE}, {{ path = "rows.jsonl" }}'}))
    assert set(found) == {"data.train.1.format"}
    assert "messages" in found["data.train.1.format"]


def test_a_model_directory_needs_its_config(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    path = write_recipe()
    assert "does not exist" in messages(path, f"model.path={tmp_path}/nothing")["model.path"]
    assert "base model" in messages(path, f"model.path={tmp_path}/adapter")["model.path"]
    assert messages(path, f"model.path={tmp_path}/model") == {}


def test_what_is_neither_path_nor_hub_id_is_told(write_recipe: Write) -> None:
    found = messages(write_recipe(), "model.path=models/llama/8b")
    assert "no path that exists" in found["model.path"]


def test_a_name_of_a_plugin_needs_its_table(write_recipe: Write) -> None:
    found = messages(write_recipe(replace={"[plugins.demo]": "[plugins.demo]\nenabled = false"}))
    assert set(found) == {"model.path", "data.train.0.path"}
    assert "needs a [plugins.demo] table" in found["model.path"]


def test_remote_code_needs_a_commit(write_recipe: Write) -> None:
    path = write_recipe()
    base = ("model.path=org/model", "model.trust_remote_code=true")
    assert "40 hex digits" in messages(path, *base)["model.trust_remote_code"]
    assert "'main'" in messages(path, *base, "model.revision=main")["model.revision"]
    assert messages(path, *base, f'model.revision="{"0a" * 20}"') == {}


def test_values_that_exclude_each_other_are_told(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe()
    (tmp_path / "file").touch()
    assert "batch_size = 8" in messages(path, "train.micro_batch_size=9")["train.micro_batch_size"]
    assert "nothing to evaluate" in messages(path, "train.evaluate_every=2")["train.evaluate_every"]
    assert messages(path, "train.evaluate_every=2", "data.eval_fraction=0.1") == {}
    assert "is a file" in messages(path, f"run.directory={tmp_path}/file/runs")["run.directory"]
    restarts = "launch.max_restarts=3"
    assert "launch.max_restarts" not in messages(path, restarts)
    assert "together" in messages(path, restarts, "launch.nodes=2")["launch.max_restarts"]


@pytest.mark.parametrize(
    "secret", ["hf_" + "a1B2" * 8, "sk-" + "x9" * 16, "AKIA" + "ABCD1234" * 2, "ghp_" + "Zz09" * 9]
)
def test_secrets_are_refused_and_not_repeated(write_recipe: Write, secret: str) -> None:
    path = write_recipe(replace={"[plugins.demo]": f'[plugins.demo]\nsample_question = "{secret}"'})
    found = messages(path)
    assert "env:NAME" in found["plugins.demo.sample_question"]
    assert secret not in str(found)


@pytest.mark.parametrize(
    "path", ["a" * 5000, "./" + "a" * 5000, "~nobody-here/x", "a\\u0000b", "./\\u0000"]
)
def test_paths_that_no_file_can_have_are_problems_too(write_recipe: Write, path: str) -> None:
    data = f'{{ path = "{path}", format = "text" }}'
    found = messages(write_recipe(replace={SOURCE: data, '"demo:tiny-llama"': f'"{path}"'}))
    assert "/" not in path or {"model.path", "data.train.0.path"} <= set(found)


def test_a_message_does_not_repeat_a_whole_file(write_recipe: Write) -> None:
    found = messages(write_recipe(replace={"steps = 10": f'steps = "{"x" * 5000}"'}))
    assert len(found["train.steps"]) < 200
