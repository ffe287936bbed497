"""Fixes of what the corpus of mistakes has not: bases, files, plugins and combinations of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.recipe.data_checks import DataInspector
from stoker.recipe.loading import inspect_recipe
from stoker.recipe.problems import Problem
from stoker_tui.models.compose.document import Document


def problems_of(path: Path, text: str | None = None) -> list[Problem]:
    return inspect_recipe(path, inspector=DataInspector(), text=text)[1]


def titles(path: Path, text: str) -> list[str]:
    path.write_text(text)
    return [problem.fix.title for problem in problems_of(path) if problem.fix]


@pytest.mark.parametrize(
    ("more", "title"),
    [
        ("[plugins.qlora]", "switch on plugins.lora"),
        ('[plugins.optimizers]\nname = "lion"\nnesterov = true', "remove plugins.optimizers.nesterov"),
        ('[plugins.zero]\nstage = 2\noffload_parameters = "cpu"', "set plugins.zero.stage = 3"),
        (
            "[plugins.zero]\n[plugins.zero.config]\ncomms_loger = 1",
            "rename plugins.zero.config.comms_loger",
        ),
        ("[plugins.zero]\n[plugins.fsdp]", "switch off plugins."),
        ("[plugins.fsdp]\nshard_size = 2", "remove plugins.fsdp.shard_size"),
        ('[plugins.early_stopping]\nmetric = "eval_loss"', "set train.evaluate_every = 100"),
        (
            '[plugins.activation_checkpointing]\nmode = "selective"\noffload_inputs = true',
            "remove plugins.",
        ),
        ("[plugins.cost]\nusd_per_gpu_hour = 2\nspot = true", "remove plugins.cost.spot"),
        (
            '[plugins.trackers]\nuse = ["tensorbord", "wandb"]',
            'set plugins.trackers.use = ["tensorboard", "wa',
        ),
        ("[plugins.compile]\n[plugins.zero]\nstage = 3", "switch off plugins.compile"),
    ],
)
def test_what_plugins_find_is_mended_by_its_fix(
    tmp_path: Path, good: str, more: str, title: str
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"{good}\n{more}\n")
    fixable = [problem for problem in problems_of(path) if problem.fix]
    assert fixable
    assert any(problem.fix.title.startswith(title) for problem in fixable if problem.fix)
    for problem in fixable:
        document = Document.open(path)
        assert problem.fix is not None
        document.apply(problem.fix.as_dict())
        told = [(each.key, each.message) for each in problems_of(path, document.text)]
        assert (problem.key, problem.message) not in told


def test_a_missing_format_is_read_off_the_rows(tmp_path: Path, good: str) -> None:
    (tmp_path / "chat.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    text = good.replace('"demo:docstrings"', '"chat.jsonl"')
    assert titles(tmp_path / "a.toml", text) == ['set data.train.0.format = "messages"']


def test_a_misspelt_file_is_named_as_the_author_names_files(tmp_path: Path, good: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows.jsonl").write_text('{"text": "a"}\n')
    row = '{ path = "./data/rws.jsonl", format = "text" }'
    text = good.replace('{ path = "demo:docstrings" }', row)
    assert titles(tmp_path / "a.toml", text) == ['set data.train.0.path = "./data/rows.jsonl"']


def test_a_sequence_too_long_for_the_model_is_cut_to_what_it_knows(tmp_path: Path, good: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text('{"max_position_embeddings": 32}')
    text = good.replace('"demo:tiny-llama"', '"./model"')
    assert "set data.sequence_length = 32" in titles(tmp_path / "a.toml", text)


def test_ranks_without_work_get_some(tmp_path: Path, good: str) -> None:
    text = f"{good}\n[launch]\ngpus_per_node = 8\n"
    assert titles(tmp_path / "a.toml", text) == ["set train.micro_batch_size = 1"]


def test_what_a_base_recipe_says_wrong_is_replaced_but_not_renamed(tmp_path: Path, good: str) -> None:
    (tmp_path / "base.toml").write_text(good.replace("steps = 10", "steps = 0\nlog_evry = 1"))
    assert titles(tmp_path / "a.toml", 'extends = "base.toml"\n') == ["set train.steps = 1"]


def test_what_is_given_on_the_command_line_has_no_fix(tmp_path: Path, good: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(good)
    _, (problem,) = inspect_recipe(path, ["train.steps=0"])
    assert problem.fix is None


def test_a_fix_shows_no_value_of_a_variable(
    tmp_path: Path, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_NAME", "Secret Name 1234")
    path = tmp_path / "a.toml"
    path.write_text(good.replace('"good"', '"env:RUN_NAME"'))
    assert "secret" not in repr(problems_of(path)).lower()


def test_a_text_is_checked_under_a_path_where_no_file_is(tmp_path: Path, good: str) -> None:
    (tmp_path / "base.toml").write_text(good)
    text = 'extends = "base.toml"\n\n[train]\nsteps = 3\n'
    recipe, problems = inspect_recipe(tmp_path / "new.toml", text=text)
    assert problems == []
    assert recipe is not None
    assert recipe.train.steps == 3
    assert recipe.text == text
    assert recipe.origins["train.steps"] == "new.toml:4"
