"""The sample answer: noted before and after, and without a trace on training."""

from __future__ import annotations

import pytest

from stoker.testing import tiny_fit


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """The same tiny run with samples and without."""
    folder = tmp_path_factory.mktemp("fits")
    return [
        tiny_fit(folder / name, {"demo": {"sample": sample, "sample_tokens": 5}})
        for name, sample in (("with", True), ("without", False))
    ]


def answers(fit):
    """The notes that are samples; the core notes other things too."""
    return [event["message"] for event in fit.of_kind("note") if " -> " in event["message"]]


def test_the_question_is_answered_before_and_after_training(fits):
    before, after = answers(fits[0])
    assert before.startswith("before training: What does `quote(s)`")
    assert after.startswith("after 3 steps: What does `quote(s)`")


def test_without_sample_nothing_is_noted(fits):
    assert answers(fits[1]) == []


def test_sampling_leaves_training_bit_identical(fits):
    assert fits[0].losses == fits[1].losses
    assert fits[0].of_kind("evaluate")[-1]["eval_loss"] == fits[1].of_kind("evaluate")[-1]["eval_loss"]
