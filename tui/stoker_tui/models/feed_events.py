"""Reads `events.jsonl` as it grows, however large it is already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stoker.run.events import EventTail
from stoker_tui.models.feed_load import LARGE_BYTES, SLICE_BYTES, Load
from stoker_tui.models.feed_story import Story

_LOAD_SECONDS = 0.01
_PAUSE_SECONDS = 0.002


class EventsReader:
    """Keeps a story up to date. `read` belongs to one thread; `load` may run in another."""

    def __init__(self, path: Path, mfu_per_speed: Mapping[int, float]) -> None:
        """`mfu_per_speed`: by attempt; may gain entries between two calls of `read`."""
        self.path = path
        self.replacements = 0
        """How often the file was found replaced or cut off."""
        self.revision = 0
        """Grows with every change of the story, and when it is another one."""
        self._mfu_per_speed = mfu_per_speed
        self._begin()

    def _begin(self) -> None:
        self.story = Story(self._mfu_per_speed)
        self.loading: Load | None = None
        """While not all of a large file is read."""
        self._tail = EventTail(self.path)
        self._is_new = True

    @property
    def bad_lines(self) -> int:
        """Lines of the file that were no events, as far as all of it has been read."""
        return 0 if self.loading else self._tail.bad_lines

    def read(self, deadline: float) -> bool:
        """Take in what is new, until about `deadline` on the monotonic clock; True if more waits.

        Raises `OSError` if the file cannot be read.
        """
        if self._is_new:
            self._open()
        while self._advance(deadline) and time.monotonic() < deadline:
            pass
        return self._tail.has_more or self.loading is not None

    def load(self, is_cancelled: Callable[[], bool]) -> None:
        """Read all of a large file, in a thread of its own; blocks. Others get the processor between."""
        loading = self.loading
        while loading is not None and loading.full is None and not is_cancelled():
            try:
                loading.work(_LOAD_SECONDS, is_cancelled)
            except OSError:
                # The next `read` comes upon the same, and says so.
                return
            time.sleep(_PAUSE_SECONDS)

    def _open(self) -> None:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        self._is_new = False
        if size > LARGE_BYTES:
            self.loading = Load(self.path, size, dict(self._mfu_per_speed))

    def _advance(self, deadline: float) -> bool:
        """Do a slice of what there is to do; True if more is left for this thread."""
        loading, is_left = self.loading, False
        if loading is not None:
            is_left = loading.work(max(0.0, deadline - time.monotonic()))
            self._adopt(loading)
            if loading.overview is None:
                return is_left
        events = self._tail.read(SLICE_BYTES)
        if self._tail.restarts:
            self.replacements += 1
            self.revision += 1
            self._begin()
            self._open()
            return True
        self.story.take(events)
        self.revision += len(events)
        return self._tail.has_more or is_left

    def _adopt(self, loading: Load) -> None:
        if loading.full is not None:
            self.revision += 1
            self.replacements += loading.was_cut
            self.story, self._tail = loading.full
            self.loading = None
        elif loading.overview is not None and self.story is not loading.overview[0]:
            self.revision += 1
            self.story, self._tail = loading.overview
