"""Where a run's training is, by the end of its events: a few kilobytes, however long it has trained."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from stoker.run.events import Event, parse_lines
from stoker.run.lines import clean
from stoker.run.numbers import number, whole

_FIRST_BYTES: Final = 8_192
"""All that ends a file is read of so much of it: about twenty steps."""
_PACE_STEPS: Final = 8
"""What is left is reckoned from so many steps."""
_SPARSE: Final = frozenset({"step", "evaluate", "cost"})
_MORE_BYTES: Final = (131_072, 1_048_576)
"""What is not there is looked for in so much."""


@dataclass(frozen=True, kw_only=True)
class Latest:
    """What the last events of each kind say; None where there are none."""

    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    """NaN where it was not finite."""
    tokens_per_second: float | None = None
    step_seconds: float | None = None
    """The median of the latest few."""
    eval_loss: float | None = None
    """As far as the last megabyte tells."""
    usd: float | None = None
    projected_usd: float | None = None
    usd_per_hour: float | None = None
    progress: str = ""
    """What is prepared, and how far that is; empty once steps are done."""

    def seconds_left(self, step: int, total: int) -> float | None:
        """Seconds until the last step is done, evaluations and saves left out."""
        if self.step_seconds is None or not total:
            return None
        return max(0, total - step) * self.step_seconds


def read_latest(path: Path) -> Latest:
    """What the end of `events.jsonl` says; nothing without a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            found = parse_lines(list(_few_steps(_end(file, size, _FIRST_BYTES))))
            if size > _FIRST_BYTES:
                found += _sparse(file, size, _SPARSE - {event["kind"] for event in found})
    except OSError:
        return Latest()
    return _latest(found)


def _few_steps(content: bytes) -> Iterator[bytes]:
    """Lines, the latest first, without the steps that would only be parsed to be thrown away."""
    num_steps = 0
    for line in reversed(content.split(b"\n")):
        if b'"kind": "step"' in line:
            num_steps += 1
            if num_steps > _PACE_STEPS:
                continue
        yield line


def _end(file: BinaryIO, size: int, num_bytes: int) -> bytes:
    file.seek(max(0, size - num_bytes))
    return file.read(num_bytes)


def _sparse(file: BinaryIO, size: int, kinds: AbstractSet[str]) -> list[Event]:
    """The last event of each of these kinds, which may be far from the end."""
    found: dict[str, Event] = {}
    for num_bytes in _MORE_BYTES:
        missing = kinds - found.keys()
        if not missing:
            break
        content = _end(file, size, num_bytes)
        for kind in missing:
            place = content.rfind(f'"kind": "{kind}"'.encode())
            start = content.rfind(b"\n", 0, max(place, 0)) + 1
            if place >= 0 and (start or num_bytes >= size):
                events = parse_lines([content[start:].partition(b"\n")[0]])
                found.update((kind, event) for event in events)
        if num_bytes >= size:
            break
    return list(found.values())


def _latest(events: list[Event]) -> Latest:
    """The values of events, the latest first."""
    steps = [event for event in events if event["kind"] == "step"]
    step = steps[0] if steps else {}
    last = {event["kind"]: event for event in reversed(events)}
    evaluation, cost = last.get("evaluate", {}), last.get("cost", {})
    return Latest(
        step=whole(step.get("step"), None),
        total_steps=whole(step.get("total_steps"), None),
        loss=_loss(step, "loss"),
        tokens_per_second=number(step.get("tokens_per_second")),
        step_seconds=_median(number(each.get("step_seconds")) for each in steps),
        eval_loss=_loss(evaluation, "eval_loss"),
        usd=number(cost.get("usd")),
        projected_usd=number(cost.get("projected_usd")),
        usd_per_hour=number(cost.get("usd_per_hour")),
        progress="" if steps else _progress(last.get("progress", {})),
    )


def _loss(event: Event, key: str) -> float | None:
    # Always the same NaN, so that equal rows compare equal.
    return None if key not in event else math.nan if event[key] is None else number(event[key])


def _median(values: Iterator[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else None


def _progress(event: Event) -> str:
    phase, done, total = event.get("phase"), number(event.get("done")), number(event.get("total"))
    if phase is None:
        return ""
    share = f" {100 * done / total:.0f} %" if done is not None and total else ""
    return clean(f"{phase}{share}")
