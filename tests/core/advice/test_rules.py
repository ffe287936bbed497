"""The decision tree, over all its answers."""

from __future__ import annotations

import itertools

import pytest

from stoker.advice.rules import TREE, Asked, decide

BOOLEANS = list(itertools.product([False, True], repeat=5))
LARGE, SMALL = 80e9, 24e9


def asked(ask, raw_text, many_tasks, few_examples, few_gpus, shift) -> Asked:
    question = ask(
        continued_pretraining=raw_text,
        multi_task=many_tasks,
        examples=49_999 if few_examples else 50_000,
        gpus=3 if few_gpus else 4,
        domain_shift=shift,
    )
    return Asked(question, LARGE)


@pytest.mark.parametrize("answers", BOOLEANS)
def test_the_tree_over_all_answers(ask, answers) -> None:
    raw_text, many_tasks, few_examples, few_gpus, shift = answers
    decision = decide(asked(ask, *answers))
    is_full = raw_text or (shift and not (many_tasks or few_examples or few_gpus))
    assert decision.trains == ("full" if is_full else "adapter")
    # The trace tells the truth: each rule once, in order, with its answer, and one decides.
    assert [step.rule for step in decision.trace] == list(TREE)
    assert [step.holds for step in decision.trace] == [
        raw_text,
        many_tasks,
        few_examples,
        few_gpus,
        shift,
        True,
    ]
    (decides,) = [step.rule for step in decision.trace if step.decides]
    assert decides is decision.rule
    assert decides.name == next(step.rule.name for step in decision.trace if step.holds)


@pytest.mark.parametrize("answers", BOOLEANS)
def test_what_is_overruled_holds_and_says_something_else(ask, answers) -> None:
    decision = decide(asked(ask, *answers))
    holds = {step.rule.name for step in decision.trace if step.holds}
    said = {rule.name for rule in decision.overruled}
    assert said == {rule.name for rule in TREE if rule.name in holds and rule.trains != decision.trains}


def test_20_000_documents_of_raw_text_are_not_few_examples(ask) -> None:
    decision = decide(Asked(ask(examples=20_000, continued_pretraining=True), LARGE))
    assert decision.rule.name == "raw-text"
    assert "few-examples" in [rule.name for rule in decision.overruled]


@pytest.mark.parametrize(("gpu_bytes", "trains"), [(LARGE, "full"), (40e9, "full"), (SMALL, "adapter")])
def test_a_gpu_counts_as_an_a100_by_its_memory(ask, gpu_bytes, trains) -> None:
    question = ask(examples=200_000, gpus=8, domain_shift=True)
    assert decide(Asked(question, gpu_bytes)).trains == trains


def test_names_of_rules_are_unique_and_reasons_are_parts_of_sentences() -> None:
    assert len({rule.name for rule in TREE}) == len(TREE)
    assert all(rule.asks.endswith("?") and not rule.because.endswith(".") for rule in TREE)
