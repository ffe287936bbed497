"""Advice in words: 80 columns, the answer first, every rung with its price."""

from __future__ import annotations

import pytest

from stoker.advice.advise import advise
from stoker.cli.advise_text import advice_text


@pytest.fixture
def said(ask, planner, matrix):
    return lambda **changes: advice_text(advise(ask(**changes), planner, matrix))


CASES = [
    {},
    {"gpus": 1, "gpu": "t4-16gb"},
    {"gpus": 16, "nodes": 2, "continued_pretraining": True, "assumed": ("one task (--multi-task)",)},
    {"model": "llama-3.1-405b", "gpus": 1},
    {"budget_usd": 0.5},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_fits_a_terminal(said, case) -> None:
    assert max(map(len, said(**case).splitlines())) <= 80


def test_the_answer_comes_first_with_memory_hours_and_dollars(said) -> None:
    first = " ".join(said().splitlines()[:2])
    assert first.startswith("lora llama-3-8b on 4 x a100-80gb: ")
    for word in ("GB per GPU", " min, ", "$", "spot $"):
        assert word in first


@pytest.mark.parametrize(
    ("examples", "said_as"),
    [(20_000, "2.2-3.3 h,"), (2_000, "13-20 min,"), (20, "7.9-12 s,")],
)
def test_time_is_in_the_unit_that_suits(said, examples, said_as) -> None:
    assert said_as in " ".join(said(examples=examples, gpus=1).split())


def test_every_reason_names_its_rule(said) -> None:
    text = " ".join(said().split())
    for rule in ("few-examples", "adapters-replicate", "mixed", "effective-batch", "flash", "spot"):
        assert f"[{rule}]" in text


def test_the_ladder_marks_the_recommendation_and_what_does_not_fit_here(said) -> None:
    lines = said(gpus=2).splitlines()
    assert sum(line.startswith("> lora llama-3-8b") for line in lines) == 1
    assert any(line.startswith("  full llama-3-70b") and " * " in line for line in lines)
    assert "* does not fit on the GPUs at hand" in lines


def test_what_the_neighbours_would_give(said) -> None:
    text = " ".join(said(gpus=2).split())
    assert "Next cheaper: nothing that was tried costs less" in text
    assert "Next better: full llama-3-8b on 2 x a100-80gb: " in text
    assert " more." in text


def test_what_needs_host_memory_is_marked(said) -> None:
    lines = said(gpus=4).splitlines()
    assert any(line.startswith("  full llama-3-70b") and line.split()[5] == "+" for line in lines)
    assert any(line.startswith("+ only with states in host memory") for line in lines)


def test_the_rules_with_their_answers_and_what_was_overruled(said) -> None:
    text = said(continued_pretraining=True)
    assert "> raw-text: Is this continued pre-training on raw text? yes" in text.splitlines()
    assert "raw-text overrules few-examples" in " ".join(text.split())


def test_nothing_fits(said) -> None:
    text = said(model="llama-3.1-405b", gpus=1)
    assert text.startswith("Nothing fits on 1 x a100-80gb.\nThe smallest thing that would: ")


def test_nothing_keeps_to_the_budget(said) -> None:
    text = " ".join(said(budget_usd=0.5).split())
    assert text.startswith("Nothing keeps to the limits on 4 x a100-80gb. The cheapest that fits is")


def test_assumptions_are_said(said) -> None:
    assert said(assumed=("one task (--multi-task)",)).endswith("Assumed: one task (--multi-task).")
