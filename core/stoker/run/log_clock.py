"""When lines of logs came: how far the log of every rank had grown, noted once a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stoker.errors import StorageError
from stoker.run.directory import RANK_LOG
from stoker.run.events import SUPERVISOR_RANK, EventWriter

ARRIVALS_NAME: Final = "arrivals.jsonl"
"""In the folder of an attempt, beside the logs."""

_EVERY_SECONDS = 1.0


class LogClock:
    """The supervisor's side: ranks write into their files as they like, and are not slowed."""

    def __init__(self, folder: Path, attempt: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`folder` holds the logs of that attempt. `clock` gives seconds."""
        self._folder = folder
        self._clock = clock
        self._next = 0.0
        self._sizes: dict[int, int] = {}
        self._notes = EventWriter(folder / ARRIVALS_NAME, attempt, SUPERVISOR_RANK)

    def tick(self) -> None:
        """Note what has grown, if a second has passed since the last time."""
        now = self._clock()
        if now >= self._next:
            self._next = now + _EVERY_SECONDS
            self.note()

    def note(self) -> None:
        """Note what has grown. Where that cannot be written, lines come without their time."""
        try:
            sizes = _sizes_of_logs(self._folder)
            grown = {rank: size for rank, size in sizes.items() if size != self._sizes.get(rank, 0)}
            if grown:
                self._notes.write("sizes", bytes=dict(sorted(grown.items())))
                self._sizes |= grown
        except (OSError, StorageError):
            # What is said about a run is no reason to end it.
            self._next = float("inf")

    def close(self) -> None:
        """Note the last lines, and close the file."""
        self.note()
        self._notes.close()


def _sizes_of_logs(folder: Path) -> dict[int, int]:
    # Ranks of other nodes are seen, too, where they share the file system.
    with os.scandir(folder) as entries:
        named = ((entry, RANK_LOG.fullmatch(entry.name)) for entry in entries)
        return {int(match[1]): entry.stat().st_size for entry, match in named if match}
