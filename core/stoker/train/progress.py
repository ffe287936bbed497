"""Progress of long work as events, so that every watcher can show it with an ETA."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.run.context import Run

SECONDS_BETWEEN_EVENTS = 0.5


class Progress:
    """Writes `progress` events from rank 0, at most two a second, and always the last one."""

    def __init__(self, run: Run, phase: str, total: int, unit: str) -> None:
        self.run = run
        self.phase = phase
        self.total = total
        self.unit = unit
        self._last = 0.0

    def update(self, done: int) -> None:
        """`done` of `total` units are finished."""
        self.run.heartbeat.beat(self.phase)
        now = time.monotonic()
        finished = 0 < self.total <= done
        if not self.run.is_main or not (finished or now - self._last >= SECONDS_BETWEEN_EVENTS):
            return
        self._last = now
        self.run.events.write("progress", phase=self.phase, done=done, total=self.total, unit=self.unit)
