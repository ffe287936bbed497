"""Everything that asks a supervisor to stop: signals, a lost terminal, a request nobody answers."""

from __future__ import annotations

import os
import select
import signal
import time
from types import FrameType

from stoker.run.control import pending
from stoker.run.directory import RunDirectory

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_INSIST_SECONDS = 5.0
"""A second Ctrl-C within this time means: now."""
_UNANSWERED_SECONDS = 2.0
"""Ranks that have not started to train do not read requests; after this a signal tells them."""
_LOOK_SECONDS = 0.5


class Interrupts:
    """Collects wishes to stop; the supervisor polls it."""

    def __init__(
        self, directory: RunDirectory | None = None, foreground_descriptor: int | None = None
    ) -> None:
        self.directory = directory
        self.foreground_descriptor = foreground_descriptor
        self.wanted = False
        """Save and stop."""
        self.insisted = False
        """Stop without saving."""
        self._last_interrupt: float | None = None
        self._next_look = 0.0

    def install(self) -> Interrupts:
        """Handle the signals from now on. Main thread only."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        # The process that started us blocked them, so that none came too early.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def poll(self) -> None:
        """Look at what does not come as a signal."""
        if self._foreground_is_gone():
            self.wanted = True
        now = time.monotonic()
        if not self.wanted and self.directory is not None and now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self.wanted = self._has_unanswered_stop(self.directory)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        last, self._last_interrupt = self._last_interrupt, now
        self.insisted |= last is not None and now - last <= _INSIST_SECONDS
        self.wanted = True

    def _foreground_is_gone(self) -> bool:
        """The command that started us holds the other end of this pipe and never writes to it."""
        descriptor = self.foreground_descriptor
        if descriptor is None or not select.select([descriptor], [], [], 0)[0]:
            return False
        os.close(descriptor)
        self.foreground_descriptor = None
        return True

    @staticmethod
    def _has_unanswered_stop(directory: RunDirectory) -> bool:
        now = time.time()
        return any(
            request.kind == "stop" and now - request.time > _UNANSWERED_SECONDS
            for request in pending(directory)
        )
