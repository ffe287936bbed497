"""Reads the ledger of a run as it grows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from stoker.run.events import Event, EventTail
from stoker.run.ledger import Entry, Ledger
from stoker.run.numbers import number, text, whole
from stoker_tui.models.feed_load import SLICE_BYTES


class LedgerReader:
    """Keeps the latest entry of every attempt: it states the whole of that attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger()
        """Another one after each change."""
        self._tail = EventTail(path)
        self._restarts = 0
        self._attempts: list[Event] = []

    def read(self, deadline: float) -> bool:
        """Take in what is new, until about `deadline` on the monotonic clock; True if more waits.

        Raises `OSError` if the file cannot be read.
        """
        lines: list[Event] = []
        while True:
            lines += self._tail.read(SLICE_BYTES)
            if not self._tail.has_more or time.monotonic() >= deadline:
                break
        is_another = self._tail.restarts != self._restarts
        if is_another:
            self._restarts, self._attempts = self._tail.restarts, []
        for line in lines:
            self._take(line)
        if lines or is_another:
            self.ledger = Ledger(tuple((_entry(line),) for line in self._attempts))
        return self._tail.has_more

    def _take(self, line: Event) -> None:
        if number(line.get("usd")) is None or number(line.get("seconds")) is None:
            return
        known = self._attempts
        if line["kind"] == "begin" or not known or known[-1].get("attempt") != line.get("attempt"):
            known.append(line)
        else:
            known[-1] = line


def _entry(line: Event) -> Entry:
    kind: Any = line["kind"]
    return Entry(
        kind=kind,
        attempt=whole(line.get("attempt")),
        t=number(line.get("t"), 0.0),
        uptime=number(line.get("uptime"), 0.0),
        boot_id=text(line.get("boot_id")),
        seconds=number(line.get("seconds"), 0.0),
        gpus=whole(line.get("gpus")),
        usd_per_gpu_hour=number(line.get("usd_per_gpu_hour"), 0.0),
        usd=number(line.get("usd"), 0.0),
        source=text(line.get("source")),
        budget_usd=number(line.get("budget_usd")),
        budget_hours=number(line.get("budget_hours")),
    )
