"""The ladder leads from QLoRA on a small model to the large one of its family."""

from __future__ import annotations

import pytest

from stoker.advice.ladder import ladder_models, make_ladder
from stoker.advice.search import Search
from stoker.matrix import Matrix

from .conftest import MODELS


@pytest.mark.parametrize(
    ("model", "models"),
    [
        ("llama-3-8b", ("llama-3-8b", "llama-3-70b")),
        ("llama-3-70b", ("llama-3-8b", "llama-3-70b")),
        ("qwen2.5-0.5b", ("qwen2.5-0.5b", "qwen2.5-72b")),
        ("qwen2.5-72b", ("qwen2.5-7b", "qwen2.5-72b")),
        ("llama-3.1-405b", ("llama-3-8b", "llama-3.1-405b")),
        ("./models/mine", ("./models/mine", "llama-3-70b")),
        ("demo:qwen2.5-7b", ("demo:qwen2.5-7b", "qwen2.5-72b")),
    ],
)
def test_one_of_the_two_models_is_the_question_s(model, models) -> None:
    assert ladder_models(model, MODELS.get(model, 3e9), MODELS) == models


def test_no_larger_model_is_made_up() -> None:
    assert ladder_models("mine", 3e9, {"mine": 3e9}) == ("mine",)


@pytest.fixture
def ladder(planner, matrix, ask):
    return make_ladder(ask(gpus=2), Search(planner, matrix))


def test_rungs_from_qlora_to_the_large_model(ladder) -> None:
    assert [rung.name for rung in ladder] == [
        "qlora llama-3-8b",
        "lora llama-3-8b",
        "full llama-3-8b",
        "qlora llama-3-70b",
        "lora llama-3-70b",
        "full llama-3-70b",
    ]


def test_every_rung_has_a_price_here_or_elsewhere(ladder) -> None:
    assert all((rung.here is None) != (rung.elsewhere is None) for rung in ladder)
    assert all(rung.choice.estimate.fits and rung.choice.estimate.usd for rung in ladder)
    assert ladder[1].here is not None
    assert ladder[-1].here is None
    assert ladder[-1].elsewhere.candidate.gpus > 2


def test_a_method_that_no_plugin_offers_has_no_rung(planner, matrix, ask) -> None:
    without = Matrix({name: each for name, each in matrix.classes.items() if name != "qlora"})
    rungs = make_ladder(ask(), Search(planner, without))
    assert {rung.method for rung in rungs} == {"lora", "full"}
