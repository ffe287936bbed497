"""Which batch a step takes once some are left out."""

from __future__ import annotations

import itertools

import pytest

from stoker.errors import UsageError
from stoker.run.record import RunRecord
from stoker.run.skips import FACT, Skip, batch_of, describe_skips, read_skips, steps_for, with_skip


def failed(step: int | None, attempt: int = 1, before: RunRecord | None = None) -> RunRecord:
    record = before or RunRecord(name="fire", id="0" * 32)
    return record.changed(error={"step": step, "message": "x"}, attempt=attempt)


def skipped(record: RunRecord, batches: int) -> RunRecord:
    return record.changed(facts=with_skip(record, batches, "fire"))


def test_without_skips_a_step_takes_the_batch_of_its_number() -> None:
    assert [batch_of(step, ()) for step in range(4)] == [0, 1, 2, 3]


def test_steps_before_the_skip_keep_their_batches_and_later_ones_take_later_ones() -> None:
    assert [batch_of(step, (Skip(3, 2),)) for step in range(6)] == [0, 1, 2, 5, 6, 7]


def test_every_history_of_skips_leaves_out_the_batches_that_would_have_come_next() -> None:
    """Against a plain list of batches from which the failing one and its followers are deleted."""
    failures = list(itertools.product(range(1, 7), range(1, 4)))
    for history in itertools.product(failures, repeat=3):
        expected, record = list(range(1, 40)), None
        for attempt, (step, batches) in enumerate(history, start=1):
            del expected[step - 1 : step - 1 + batches]
            record = skipped(failed(step, attempt, record), batches)
        assert record is not None
        skips = read_skips(record)
        taken = [batch_of(step, skips) for step in range(1, len(expected) + 1)]
        assert taken == expected, history


def test_an_epoch_is_as_much_shorter_as_batches_of_it_are_left_out() -> None:
    assert steps_for(10, ()) == 10
    assert steps_for(10, (Skip(3, 2),)) == 8
    assert steps_for(10, (Skip(10, 1),)) == 9
    assert steps_for(10, (Skip(9, 5),)) == 8
    assert steps_for(10, (Skip(11, 5),)) == 10


def test_asked_for_twice_after_one_failure_the_second_number_counts() -> None:
    once = skipped(failed(7, attempt=2), 1)
    assert read_skips(skipped(once, 3)) == (Skip(7, 3),)
    again = skipped(failed(7, attempt=3, before=once), 1)
    assert read_skips(again) == (Skip(7, 1), Skip(8, 1))
    assert again.facts[FACT][1] == {"step": 7, "batch": 8, "batches": 1, "attempt": 3}


def test_there_must_be_a_failed_step_to_begin_with() -> None:
    for record in (failed(None), RunRecord(name="fire", id="0" * 32)):
        with pytest.raises(UsageError, match="no batch to begin with") as caught:
            with_skip(record, 1, "fire")
        assert caught.value.hint == "Go on without it: stoker resume fire"
    with pytest.raises(UsageError, match="3 left out before stay so"):
        with_skip(failed(None, 2, skipped(failed(7), 3)), 1, "fire")


def test_other_facts_stay() -> None:
    record = failed(2).changed(facts={"cloud": "on"})
    assert with_skip(record, 1, "fire")["cloud"] == "on"


def test_what_is_left_out_is_said_in_words() -> None:
    assert describe_skips(()) == ""
    assert describe_skips((Skip(7, 1),)) == "batch 7"
    assert describe_skips((Skip(2, 3), Skip(9, 1))) == "batches 2 to 4, batch 9"
    assert describe_skips((Skip(5, 4), Skip(7, 3))) == "batches 5 to 11"
