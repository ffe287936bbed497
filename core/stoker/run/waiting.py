"""Waits for the ranks of a node, passes wishes to stop on to them, and ends those that hang."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.run.interrupts import Interrupts
from stoker.run.ranks import RankProcess


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits before it takes the next measure."""

    notice_seconds: float = 10.0
    """After a rank failed: the others notice by themselves and write why they leave."""
    terminate_seconds: float = 10.0
    """After SIGTERM because another rank failed."""
    leave_seconds: float = 120.0
    """After one rank has saved and left: the others were at the same boundary."""
    poll_seconds: float = 0.1


class Overseer:
    """Stays with the ranks until the last has ended."""

    def __init__(self, ranks: Sequence[RankProcess], interrupts: Interrupts, patience: Patience) -> None:
        self.ranks = ranks
        self.interrupts = interrupts
        self.patience = patience
        self._told = False
        self._first_failure: float | None = None
        self._first_leave: float | None = None

    def wait(self) -> None:
        """Return when no rank lives any more."""
        while [rank for rank in self.ranks if rank.poll()]:
            self.interrupts.poll()
            self._act(time.monotonic())
            time.sleep(self.patience.poll_seconds)

    def kill(self) -> None:
        """End all ranks at once and wait for them."""
        for rank in self.ranks:
            rank.kill()
        for rank in self.ranks:
            rank.process.wait()
            rank.poll()

    def _act(self, now: float) -> None:
        if self.interrupts.insisted:
            self.kill()
        elif self.interrupts.wanted:
            self._tell()
        self._after_failure(now)
        self._after_leave(now)

    def _after_failure(self, now: float) -> None:
        if self._first_failure is None:
            if any(rank.failed for rank in self.ranks):
                self._first_failure = now
            return
        waited = now - self._first_failure
        if waited > self.patience.notice_seconds + self.patience.terminate_seconds:
            self.kill()
        elif waited > self.patience.notice_seconds:
            self._tell()

    def _after_leave(self, now: float) -> None:
        """One rank that left alone, for example by a signal of its own, takes the others with it."""
        if self._first_leave is None:
            if any(rank.left for rank in self.ranks):
                self._first_leave = now
                self._tell()
        elif now - self._first_leave > self.patience.leave_seconds:
            self.kill()

    def _tell(self) -> None:
        """Once only: a second SIGTERM must not disturb the saving that the first one started."""
        if not self._told:
            self._told = True
            for rank in self.ranks:
                rank.terminate()
