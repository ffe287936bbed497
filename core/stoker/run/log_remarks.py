"""What happened in a run, to be shown between the lines of its logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from stoker.run.events import Event, EventTail
from stoker.run.lines import describe
from stoker.run.log_lines import Level
from stoker.run.record import ACTIVE_STATES

ORDER: Final = "order"
"""Kind of a remark about the order of what follows."""

_FREQUENT = tuple(f'"kind": "{kind}"'.encode() for kind in ("step", "progress", "cost", "memory"))
_READ_BYTES = 2**22


class Remark(NamedTuple):
    """One thing that happened."""

    t: float
    """Unix seconds."""
    kind: str
    """The event's, or `ORDER`."""
    text: str
    level: Level


class Happenings:
    """Reads a growing events.jsonl as far as it has come; what comes every few steps is left out."""

    def __init__(self, path: Path, attempt: int) -> None:
        self.attempt = attempt
        self._tail = EventTail(path)

    def read(self) -> list[Remark]:
        """What has come since the last call, in the order of the file, as far as that can be read."""
        found: list[Remark] = []
        with suppress(OSError):
            found += remarks_of(self._tail.read_lines(_READ_BYTES), self.attempt)
            while self._tail.has_more:
                found += remarks_of(self._tail.read_lines(_READ_BYTES), self.attempt)
        return found


def remarks_of(lines: Iterable[bytes], attempt: int) -> list[Remark]:
    """What lines of events.jsonl say of an attempt; damaged ones are left out."""
    found = []
    for line in lines:
        if any(kind in line for kind in _FREQUENT):
            continue
        try:
            remark = remark_of(json.loads(line), attempt)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if remark is not None:
            found.append(remark)
    return found


def remark_of(event: Event, attempt: int) -> Remark | None:
    """What an event says for people; None for those of other attempts, and for what nobody needs."""
    if event["attempt"] != attempt:
        return None
    kind, text = event["kind"], describe(event)
    level: Level = "info"
    if kind == "state" and event["state"] not in ACTIVE_STATES:
        code = event.get("exit_code")
        text = event["state"] if code in (0, None) else f"{event['state']}, exit code {code}"
    if kind in ("alert", "preemption") or event.get("phase") == "failed":
        level = "warning"
    if event.get("state") == "failed":
        level = "error"
    return None if text is None else Remark(float(event["t"]), kind, str(text), level)
