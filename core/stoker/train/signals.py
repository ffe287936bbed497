"""Signals set a flag; the next boundary between steps acts on it. Only a second Ctrl-C acts at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from stoker.errors import ExitCode, Interrupted
from stoker.run.interrupts import ECHO_SECONDS, Repeats
from stoker.run.ranks import CHECKPOINT_SIGNAL, INSIST_SIGNAL, STOP_SIGNALS
from stoker.run.watchdog import is_watched


class SignalFlags:
    """What signals have asked of this process so far."""

    def __init__(self) -> None:
        self.stop = ""
        """Name of the first signal that asked for a stop, or empty."""
        self.stopped_at = 0.0
        """When it came, in seconds of `time.monotonic()`."""
        self.checkpoint = False

    def install(self) -> SignalFlags:
        """Handle the signals from now on. Main thread only."""
        for number in STOP_SIGNALS:
            # nohup ignores SIGHUP, and means it.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_stop)
        signal.signal(CHECKPOINT_SIGNAL, self._on_checkpoint)
        if not is_watched():
            _leave_when_insisted()
        # Our supervisor blocked them at the start of this process, so that none came too early.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP_SIGNALS, CHECKPOINT_SIGNAL, INSIST_SIGNAL))
        return self

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if not self.stop:
            self.stopped_at = time.monotonic()
            self.stop = signal.Signals(number).name

    def _on_checkpoint(self, number: int, frame: FrameType | None) -> None:
        self.checkpoint = True

    def raise_if_stopped(self) -> None:
        """For the time before ranks can agree and before there is anything to save.

        Raises `Interrupted` if a signal asked for a stop.
        """
        if self.stop:
            raise Interrupted(f"received {self.stop} before the first step.")


def _leave_when_insisted() -> None:
    """End this process at once on a second Ctrl-C, also while it waits for a library.

    For other launchers than our supervisor, which ends its ranks itself. Handlers wait until the library
    returns; the numbers of signals are written to a descriptor without delay. Nothing is lost: what is
    saved is saved at every instant.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_count_interrupts, args=(reading,), name="signals", daemon=True).start()


def _count_interrupts(reading: int) -> None:
    repeats = Repeats(ECHO_SECONDS)
    while numbers := os.read(reading, 64):
        if signal.SIGINT in numbers and repeats.note(time.monotonic()):
            os._exit(ExitCode.LEFT)
