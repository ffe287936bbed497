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


def test_the_question_is_answered_before_and_after_training(fits):
    before, after = (event["message"] for event in fits[0].of_kind("note"))
    assert before.startswith("before training: What does `quote(s)`")
    assert after.startswith("after 3 steps: What does `quote(s)`")
    assert " -> " in before


def test_without_sample_nothing_is_noted(fits):
    assert fits[1].of_kind("note") == []


def test_sampling_leaves_training_bit_identical(fits):
    assert fits[0].losses == fits[1].losses
    assert fits[0].of_kind("evaluate")[-1]["eval_loss"] == fits[1].of_kind("evaluate")[-1]["eval_loss"]
