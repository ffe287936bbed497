"""What is asked of a supervisor: by signals, by a lost terminal, by a request nobody answers."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from types import FrameType

from stoker.run.control import pending
from stoker.run.directory import RunDirectory
from stoker.run.ranks import CHECKPOINT_SIGNAL, INSIST_SIGNAL, STOP_SIGNALS

PASSED_SIGNALS = (*STOP_SIGNALS, CHECKPOINT_SIGNAL)
"""Signals to a supervisor, or to the command in front of it, are meant for the ranks."""

INSIST_SECONDS = 5.0
"""A second Ctrl-C within this time means: now."""
ECHO_SECONDS = 1.0
"""One Ctrl-C to a whole group of processes reaches some twice: directly, and by who passes it on."""
_UNANSWERED_SECONDS = 2.0
"""Ranks that have not started to train do not read requests; after this a signal tells them."""
_LOOK_SECONDS = 0.5


class Interrupts:
    """Collects wishes; the supervisor polls it."""

    def __init__(
        self, directory: RunDirectory | None = None, foreground_descriptor: int | None = None
    ) -> None:
        self.directory = directory
        self.foreground_descriptor = foreground_descriptor
        self.wanted = False
        """Save and stop."""
        self.insisted = False
        """Stop without saving."""
        self.number = signal.SIGINT
        """The signal that asked to stop, or stands for what did; the ranks get the same."""
        self._checkpoint = False
        self._repeats = Repeats(ECHO_SECONDS)
        self._next_look = 0.0
        self._unanswered_since: float | None = None

    def install(self) -> Interrupts:
        """Handle the signals from now on. Main thread only."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(CHECKPOINT_SIGNAL, self._on_checkpoint)
        signal.signal(INSIST_SIGNAL, self._on_insist)
        # The process that started us blocked them, so that none came too early.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*PASSED_SIGNALS, INSIST_SIGNAL))
        return self

    def take_checkpoint(self) -> bool:
        """Whether a checkpoint has been asked for by a signal since the last call."""
        wanted, self._checkpoint = self._checkpoint, False
        return wanted

    def poll(self) -> None:
        """Look at what does not come as a signal."""
        if self._foreground_is_gone():
            self._want(signal.SIGHUP)
        now = time.monotonic()
        if not self.wanted and self.directory is not None and now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            if self._has_unanswered_stop(self.directory, now):
                self._want(signal.SIGINT)

    def _want(self, number: signal.Signals) -> None:
        if not self.wanted:
            self.number, self.wanted = number, True

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._want(signal.Signals(number))

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self.insisted |= self._repeats.note(time.monotonic())
        self._want(signal.SIGINT)

    def _on_insist(self, number: int, frame: FrameType | None) -> None:
        self.insisted = True
        self._want(signal.SIGINT)

    def _on_checkpoint(self, number: int, frame: FrameType | None) -> None:
        self._checkpoint = True

    def _foreground_is_gone(self) -> bool:
        """The command that started us holds the other end of this pipe and never writes to it."""
        descriptor = self.foreground_descriptor
        if descriptor is None or not select.select([descriptor], [], [], 0)[0]:
            return False
        os.close(descriptor)
        self.foreground_descriptor = None
        return True

    def _has_unanswered_stop(self, directory: RunDirectory, now: float) -> bool:
        """By our own clock since we saw one first: whoever wrote it may have another, or set it."""
        if not any(request.kind == "stop" for request in pending(directory)):
            self._unanswered_since = None
            return False
        if self._unanswered_since is None:
            self._unanswered_since = now
        return now - self._unanswered_since > _UNANSWERED_SECONDS


class Repeats:
    """Tells a second Ctrl-C, which means "now", from one that arrives twice and from a later one."""

    def __init__(self, echo_seconds: float) -> None:
        self._echo_seconds = echo_seconds
        self._last: float | None = None

    def note(self, now: float) -> bool:
        """Note a Ctrl-C at `now`, in seconds of the monotonic clock. Returns whether it insists."""
        since = math.inf if self._last is None else now - self._last
        if since > self._echo_seconds:
            self._last = now
        return self._echo_seconds < since <= INSIST_SECONDS
