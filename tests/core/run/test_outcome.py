"""Outcomes: the first failure is the one shown."""

from __future__ import annotations

import time

import pytest

from stoker.run.directory import RunDirectory
from stoker.run.outcome import (
    RankOutcome,
    combined_exit_code,
    first_failure,
    read_outcomes,
    write_outcome,
)


def outcomes(*codes: int) -> list[RankOutcome]:
    """Ranks with these exit codes, the last one first in time."""
    count = len(codes)
    return [RankOutcome(rank=n, exit_code=code, time=count - n) for n, code in enumerate(codes)]


def test_an_outcome_is_read_as_it_was_written(directory: RunDirectory) -> None:
    write_outcome(directory, 1, 1, 71, step=4, message="m", hint="h", traceback="t")
    write_outcome(directory, 1, 0, 0, step=5)
    write_outcome(directory, 2, 0, 75, step=6)
    good, bad = read_outcomes(directory, 1)
    assert (good.rank, good.exit_code, good.step, good.error) == (0, 0, 5, None)
    assert bad.error is not None
    assert (bad.rank, bad.exit_code, bad.step) == (1, 71, 4)
    assert (bad.error.message, bad.error.hint, bad.error.traceback) == ("m", "h", "t")
    assert abs(bad.time - time.time()) < 60


def test_a_file_that_is_no_outcome_is_left_out(directory: RunDirectory) -> None:
    write_outcome(directory, 1, 0, 0)
    directory.outcome_path(1, 1).write_text("{")
    assert [outcome.rank for outcome in read_outcomes(directory, 1)] == [0]


def test_the_earliest_failure_is_the_cause() -> None:
    first = first_failure(outcomes(1, 71, 0))
    assert first is not None
    assert first.rank == 1
    assert first_failure(outcomes(0, 75)) is None


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((0, 0), 0),
        ((0, 75), 75),
        ((75, 1, 0), 1),
        ((1, 73), 73),
        ((), 1),
        ((76, 75), 76),
        # One rank knows that the budget is spent, the other follows it.
        ((4, 75), 4),
        ((4, 76), 76),
        ((4, 1), 1),
    ],
)
def test_the_exit_code_of_all_ranks(codes: tuple[int, ...], expected: int) -> None:
    assert combined_exit_code(outcomes(*codes)) == expected
