"""Signals set a flag; the next boundary between steps acts on it."""

from __future__ import annotations

import signal
from types import FrameType

from stoker.errors import Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CHECKPOINT_SIGNAL = signal.SIGUSR1


class SignalFlags:
    """What signals have asked of this process so far."""

    def __init__(self) -> None:
        self.stop = ""
        """Name of the signal that asked for a stop, or empty."""
        self.checkpoint = False

    def install(self) -> SignalFlags:
        """Handle the signals from now on. Main thread only."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_stop)
        signal.signal(CHECKPOINT_SIGNAL, self._on_checkpoint)
        return self

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop = signal.Signals(number).name

    def _on_checkpoint(self, number: int, frame: FrameType | None) -> None:
        self.checkpoint = True

    def raise_if_stopped(self) -> None:
        """For the time before ranks can agree and before there is anything to save.

        Raises `Interrupted` if a signal asked for a stop.
        """
        if self.stop:
            raise Interrupted(f"received {self.stop} before the first step.")
