"""Recipes that are written do what the advice says, and `stoker check` accepts them."""

from __future__ import annotations

import pytest
import tomli

from stoker.advice.advise import advise
from stoker.advice.recipes import RECOMMENDED, Sources, recipe_texts, write_recipes
from stoker.errors import StorageError, UsageError
from stoker.recipe.loading import inspect_recipe

from .conftest import MODELS

SOURCES = Sources({model: f"someone/{model}" for model in MODELS})


@pytest.fixture
def texts(ask, planner, matrix, tmp_path):
    def make(sources: Sources = SOURCES, **changes):
        advice = advise(ask(**changes), planner, matrix)
        return advice, recipe_texts(advice, sources, tmp_path)

    return make


def test_one_for_the_recommendation_and_one_for_every_other_rung_that_fits_here(texts) -> None:
    advice, written = texts(gpus=2)
    fitting = [rung.name for rung in advice.ladder if rung.here]
    names = {name.replace(" ", "-") for name in fitting if name != advice.rung.name}
    assert set(written) == {f"{RECOMMENDED}.toml", *(f"{name}.toml" for name in names)}
    assert len(written) < len(advice.ladder)


CASES = [
    {"gpus": 1},
    {"gpus": 1, "gpu": "rtx-4090"},
    {"gpus": 2, "gpu": "t4-16gb"},
    {"gpus": 8, "examples": 200_000, "domain_shift": True},
    {"gpus": 16, "nodes": 2, "continued_pretraining": True},
    {"gpus": 4, "gpu": "l40s-48gb", "continued_pretraining": True, "model": "llama-3-70b"},
    {"gpus": 8, "model": "llama-3-70b"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_check_accepts_all_of_them(texts, tmp_path, case) -> None:
    _, written = texts(**case)
    for path in write_recipes(written, tmp_path / "recipes"):
        recipe, problems = inspect_recipe(path)
        assert problems == []
        assert recipe is not None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_they_say_what_the_advice_says(texts, case) -> None:
    advice, written = texts(**case)
    found = tomli.loads(written[f"{RECOMMENDED}.toml"])
    candidate = advice.choice.candidate
    assert found["plugins"] == candidate.tables
    assert found["train"]["micro_batch_size"] == candidate.micro_batch_size
    assert found["train"]["batch_size"] == candidate.batch_size
    assert found["train"]["epochs"] == candidate.epochs
    assert found["train"]["precision"] == candidate.precision
    assert found["data"]["sequence_length"] == candidate.row_tokens
    launch = found["launch"]
    assert launch["gpus_per_node"] * launch.get("nodes", 1) == candidate.gpus
    assert found["model"]["path"] == f"someone/{candidate.model}"
    assert found["checkpoint"]["every"] == "auto"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_lines_fit_and_the_heading_has_the_reasons(texts, case) -> None:
    advice, written = texts(**case)
    for name, text in written.items():
        assert max(map(len, text.splitlines())) <= 120, name
        assert text.startswith("# Written by `stoker advise`")
    comments = " ".join(line.lstrip("# ") for line in written[f"{RECOMMENDED}.toml"].splitlines())
    for reason in advice.reasons:
        assert f"{reason.part} {reason.value}: {reason.because}." in comments


def test_an_adapter_on_raw_text_has_an_adapter_s_learning_rate(texts) -> None:
    _, written = texts(gpu="rtx-4090", gpus=1, continued_pretraining=True)
    assert tomli.loads(written[f"{RECOMMENDED}.toml"])["train"]["learning_rate"] == 2e-4


def test_a_model_that_was_named_may_be_one_without_a_chat_template(texts) -> None:
    said = "# chats need a variant with a chat template"
    assert said in texts(gpus=1)[1][f"{RECOMMENDED}.toml"]
    assert said not in texts(gpus=8, continued_pretraining=True)[1][f"{RECOMMENDED}.toml"]
    own = Sources({model: model for model in MODELS})
    assert said not in texts(own, gpus=1)[1][f"{RECOMMENDED}.toml"]


def test_data_of_the_user_take_the_place_of_the_template_s(texts, tmp_path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": "a"}\n')
    sources = Sources(SOURCES.model_paths, str(data))
    _, written = texts(sources, continued_pretraining=True)
    assert tomli.loads(written[f"{RECOMMENDED}.toml"])["data"]["train"] == [
        {"path": "rows.jsonl", "format": "text"}
    ]


def test_nothing_is_replaced_unasked(tmp_path) -> None:
    (tmp_path / "b.toml").write_text("mine")
    texts = {"a.toml": "1", "b.toml": "2"}
    with pytest.raises(UsageError, match=r"b\.toml exists already; nothing was written"):
        write_recipes(texts, tmp_path)
    assert not (tmp_path / "a.toml").exists()
    write_recipes(texts, tmp_path, replace=True)
    assert (tmp_path / "b.toml").read_text() == "2"


def test_a_folder_that_cannot_be_written_to_is_an_error_and_no_traceback(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="recipes cannot be written"):
        write_recipes({"a.toml": ""}, tmp_path / "file" / "folder")
