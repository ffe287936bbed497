"""A question refuses what cannot be, and says how long rows are and how many."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"examples": 0}, "--examples cannot be 0"),
        ({"gpus": 0}, "--gpus cannot be 0"),
        ({"budget_usd": -5.0}, "--budget-usd cannot be -5"),
        ({"hours": 0.0}, "--hours cannot be 0"),
        ({"epochs": float("nan")}, "--epochs cannot be nan"),
        ({"gpus": 9, "nodes": 2}, "9 GPUs cannot be shared out evenly to 2 nodes"),
    ],
)
def test_numbers_that_cannot_be_are_refused(ask, changes, said) -> None:
    with pytest.raises(UsageError, match=said):
        ask(**changes)


@pytest.mark.parametrize(("tokens", "row"), [(1, 256), (128, 256), (129, 512), (512, 1024), (600, 2048)])
def test_rows_have_room_for_twice_the_average(ask, tokens, row) -> None:
    assert ask(tokens_per_example=tokens).row_tokens == row
    assert row >= 2 * tokens


def test_raw_text_is_cut_into_blocks_and_read_once(ask) -> None:
    question = ask(continued_pretraining=True, examples=4096, tokens_per_example=1000)
    assert (question.row_tokens, question.passes) == (2048, 1.0)
    assert (question.rows_of(2048), question.rows_of(1024)) == (2000, 4000)
    assert question.tokens == 4096 * 1000


def test_examples_are_rows_and_read_three_times(ask) -> None:
    question = ask(examples=10_000)
    assert (question.rows_of(512), question.passes) == (10_000, 3.0)
    assert question.tokens == 10_000 * 3 * 512
    assert ask(epochs=0.5).passes == 0.5
