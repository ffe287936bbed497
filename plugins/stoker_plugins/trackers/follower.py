"""Follows the run's events for one tracker, in a thread, at the pace that the tracker takes.

The file of events is the queue: a slow tracker falls behind in it and takes no memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stoker.errors import StorageError
from stoker.run.events import EventTail
from stoker_plugins.trackers.readings import STEP, readings, source

if TYPE_CHECKING:
    from stoker.run.events import Event
    from stoker_plugins.trackers.backends import Backend
    from stoker_plugins.trackers.bookmark import Bookmark
    from stoker_plugins.trackers.ending import Ending

POLL_SECONDS: Final = 0.5
_SECONDS_BETWEEN_BOOKMARKS: Final = 2.0


class LeftOut(Exception):
    """The tracker answered after all, too late."""


class Follower:
    """Hands events to one tracker until the run's end, or until the tracker fails."""

    def __init__(self, name: str, backend: Backend, bookmark: Bookmark) -> None:
        self.name = name
        self.trouble = ""
        """What the tracker failed of."""
        self.ending: Ending | None = None
        """Set when the run has ended."""
        self._backend = backend
        self._bookmark = bookmark
        self._floor: dict[str, int] = dict(bookmark.seen)
        """The last steps that were mirrored before; what is trained again is not logged again."""
        self._step = max(bookmark.seen.values(), default=0)
        self._called_at: float | None = None
        self._left_out = False
        self._saved_at = 0.0
        self._thread: threading.Thread | None = None

    def start(self, events: Path, recipe: Mapping[str, Any]) -> None:
        """Begin, in a thread that keeps no process alive."""
        tail = EventTail(events, self._bookmark.position)
        self._thread = threading.Thread(
            target=self._run, args=(tail, recipe), name=f"tracker-{self.name}", daemon=True
        )
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it."""
        return self._left_out or (self._thread is not None and not self._thread.is_alive())

    @property
    def seconds_in_call(self) -> float:
        """How long the tracker has not returned from one call."""
        called_at = self._called_at
        return 0.0 if called_at is None else time.monotonic() - called_at

    def leave_out(self) -> None:
        """Give it up, though its call goes on: threads cannot be ended."""
        self._left_out = True

    def _run(self, tail: EventTail, recipe: Mapping[str, Any]) -> None:
        try:
            self._begin(recipe)
            self._follow(tail)
        except LeftOut:
            pass
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            self.trouble = f"{type(error).__name__}: {lines[0]}"
            # The next attempt goes on after what did arrive.
            with suppress(StorageError):
                self._bookmark.save()

    def _begin(self, recipe: Mapping[str, Any]) -> None:
        self._backend.load()
        with self._calling():
            self._backend.open(self._bookmark)
        if not self._bookmark.configured:
            with self._calling():
                self._backend.configure(recipe)
            self._bookmark.configured = True
        self._bookmark.save()

    def _follow(self, tail: EventTail) -> None:
        while True:
            ending = self.ending
            for event in tail.read():
                self._take(event)
            self._bookmark.position = tail.position
            if ending is not None:
                break
            if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_BOOKMARKS:
                self._bookmark.save()
                self._saved_at = time.monotonic()
            time.sleep(POLL_SECONDS)
        self._bookmark.save()
        with self._calling():
            self._backend.close(ending, self._step)

    def _take(self, event: Event) -> None:
        if event["kind"] == "state" and event.get("state") == "running":
            self._begin_attempt(int(event["step"]))
        values = readings(event)
        step = event.get(STEP)
        if not isinstance(step, int):
            step = self._step
        elif step <= self._floor.get(source(event), -1):
            return
        else:
            self._step = max(self._step, step)
        if values:
            with self._calling():
                log = self._backend.log if event["kind"] == STEP else self._backend.log_beside
                log(values, step)
            self._bookmark.seen[source(event)] = step

    def _begin_attempt(self, step: int) -> None:
        """Training goes on from a checkpoint of that step, which need not be the last one mirrored."""
        seen = self._bookmark.seen
        if max(seen.values(), default=0) > step:
            with self._calling():
                if self._backend.rewind(step):
                    seen.update({name: min(last, step) for name, last in seen.items()})
                    self._step = step
        self._floor = dict(seen)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        if self._left_out:
            raise LeftOut
        self._called_at = time.monotonic()
        try:
            yield
        finally:
            self._called_at = None
