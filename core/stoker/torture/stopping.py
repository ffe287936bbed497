"""Being told to stop: nothing that has been started is left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from types import FrameType

from stoker.run.ranks import STOP_SIGNALS
from stoker.torture.forking import children_of, kill, reap_children

_PR_SET_CHILD_SUBREAPER = 36
_SECONDS_BETWEEN_LOOKS = 0.01


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP has come; no handler of what is being tortured may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that this signal has ended."""
        return 128 + self.number


def stop_on_signals() -> None:
    """From now on the first signal raises `Stopped`, and those after it do nothing.

    Ranks whose launcher has died become children of this process, so that `end_children` finds them.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _raise)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _raise(number: int, frame: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def end_children() -> None:
    """Kill the children of this process, and theirs, until there are none."""
    while children := children_of(os.getpid()):
        for pid in children:
            kill(pid)
        reap_children()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
