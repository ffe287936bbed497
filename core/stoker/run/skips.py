"""Batches that a run leaves out, because one of them was not finite. Torch-free.

The order of rows is cut into batches that count from 1. As long as nothing is left out, step s
takes batch s; where batches are left out, the steps from there on take later ones. Seeds and
learning rates go on belonging to the step. What is left out stands in the run's record, so every
rank of every later attempt knows it, and the cursor of a run still is its step number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from stoker.errors import UsageError
from stoker.run.record import RunRecord

FACT: Final = "skipped_batches"
"""Key of `facts` in run.json: a list of {step, batch, batches, attempt}."""


@dataclass(frozen=True, order=True)
class Skip:
    """So many batches are left out, beginning with one of them."""

    batch: int
    """The first, counted from 1."""
    batches: int
    """How many of those that would come otherwise, at least 1."""


def read_skips(record: RunRecord) -> tuple[Skip, ...]:
    """What a run leaves out, by batch."""
    return tuple(sorted(Skip(each["batch"], each["batches"]) for each in record.facts.get(FACT, [])))


def batch_of(step: int, skips: Sequence[Skip]) -> int:
    """Which batch a step takes; the number of batches that are behind it once it is done.

    `skips` are sorted. 0 for step 0.
    """
    batch = step
    for skip in skips:
        if batch >= skip.batch:
            batch += skip.batches
    return batch


def steps_for(batches: int, skips: Sequence[Skip]) -> int:
    """How many steps take the first `batches` batches, but for those that are left out."""
    return next(step for step in range(batches, -1, -1) if batch_of(step, skips) <= batches)


def with_skip(record: RunRecord, batches: int, name: str) -> dict[str, Any]:
    """The record's facts with `batches` more left out, beginning with the one that failed.

    Asked for twice after the same failure, the second number counts. Raises `UsageError` for a run
    whose last attempt did not end at a step that was not finite.
    """
    step = (record.error or {}).get("step")
    if step is None:
        known = sum(skip.batches for skip in read_skips(record))
        before = f" {known} left out before stay so." if known else ""
        raise UsageError(
            f"--skip-batches: the last attempt of {record.name!r} did not end at a step whose loss or "
            f"gradient was not finite, so there is no batch to begin with.{before}",
            hint=f"Go on without it: stoker resume {name}",
        )
    others = [each for each in record.facts.get(FACT, []) if each["attempt"] != record.attempt]
    known_skips = tuple(sorted(Skip(each["batch"], each["batches"]) for each in others))
    entry = {
        "step": step,
        "batch": batch_of(step, known_skips),
        "batches": batches,
        "attempt": record.attempt,
    }
    return {**record.facts, FACT: [*others, entry]}


def describe_skips(skips: Sequence[Skip]) -> str:
    """`batches 7 to 9, batch 12`; empty where nothing is left out."""
    left_out = sorted(_left_out(skips))
    ranges: list[list[int]] = []
    for batch in left_out:
        if ranges and ranges[-1][-1] == batch - 1:
            ranges[-1][1:] = [batch]
        else:
            ranges.append([batch])
    return ", ".join(
        f"batches {each[0]} to {each[1]}" if len(each) > 1 else f"batch {each[0]}" for each in ranges
    )


def _left_out(skips: Sequence[Skip]) -> set[int]:
    steps = max((skip.batch for skip in skips), default=0)
    last = batch_of(steps, skips)
    return set(range(1, last)) - {batch_of(step, skips) for step in range(1, steps + 1)}
