"""Reads a large file of events: an overview of it first, then all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from stoker.run.events import EventTail
from stoker_tui.models.feed_story import Story

LARGE_BYTES: Final = 8_000_000
"""A file up to this size is read at once."""
SLICE_BYTES: Final = 64_000
"""Read, parsed and taken in between two looks at the clock: about a millisecond."""

_END_BYTES: Final = 256_000
_WINDOW_BYTES: Final = 16_000
_NUM_WINDOWS: Final = 400


class Load:
    """One large file, read slice by slice by whichever thread calls `work`.

    A story and its tail are published when they are complete, and not touched here any more: from then
    on they belong to the thread that takes them.
    """

    def __init__(self, path: Path, size: int, mfu_per_speed: Mapping[int, float]) -> None:
        """`size`: bytes that the file has at least."""
        self.overview: tuple[Story, EventTail] | None = None
        """Of evenly spread windows; the tail stands at the end."""
        self.full: tuple[Story, EventTail] | None = None
        """Of all; the tail stands where `size` was or somewhat later."""
        self.done = 0.0
        """Share of the file that the full read has come through."""
        self.was_cut = False
        """Whether the file had become shorter when all of it was read."""
        self.one_in = max(1, round(size / (2 * _END_BYTES + _NUM_WINDOWS * _WINDOW_BYTES)))
        """The overview has about one line of so many."""
        self._path = path
        self._size = size
        self._mfu_per_speed = mfu_per_speed
        self._slices = self._read_overview()
        self._lock = threading.Lock()

    def work(self, seconds: float, is_cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Go on for about so long, or until all is read; True if more is left for the caller.

        Does nothing while another thread works.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            deadline = time.monotonic() + seconds
            for _ in self._slices:
                if time.monotonic() >= deadline or is_cancelled():
                    return True
            if self.full is None:
                self._slices = self._read_all()
            return self.full is None
        finally:
            self._lock.release()

    def _read_overview(self) -> Iterator[None]:
        story = Story(self._mfu_per_speed)
        story.take(EventTail(self._path).read(_END_BYTES))
        yield
        room = self._size - 2 * _END_BYTES - _WINDOW_BYTES
        for number in range(_NUM_WINDOWS):
            start = _END_BYTES + room * number // _NUM_WINDOWS
            story.take(EventTail(self._path, start).read(_WINDOW_BYTES))
            yield
        tail = EventTail(self._path, self._size - _END_BYTES)
        story.take(tail.read(_END_BYTES))
        self.overview = story, tail

    def _read_all(self) -> Iterator[None]:
        story, tail = Story(self._mfu_per_speed), EventTail(self._path)
        while tail.position < self._size:
            story.take(tail.read(SLICE_BYTES))
            if tail.restarts or not tail.has_more:
                break
            self.done = tail.position / self._size
            yield
        self.was_cut = _size_of(self._path) < self._size
        self.full = story, tail


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
