"""Waits for the ranks of a node, passes wishes to stop on to them, and ends those that hang."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.errors import ExitCode
from stoker.run.interrupts import Interrupts
from stoker.run.lease import Lease
from stoker.run.log_clock import LogClock
from stoker.run.ranks import CHECKPOINT_SIGNAL, RankProcess
from stoker.run.watchdog import START_SECONDS, Hang, Watchdog

_SECONDS_BETWEEN_LOOKS_AFTER_A_KILL = 0.02


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits before it takes the next measure."""

    notice_seconds: float = 10.0
    """After a rank failed: the others notice by themselves and write why they leave."""
    terminate_seconds: float = 10.0
    """After SIGTERM because another rank failed."""
    leave_seconds: float = 120.0
    """After one rank has saved and left: the others were at the same boundary."""
    kill_seconds: float = 30.0
    """After SIGKILL: what waits for a broken device or file system does not even die."""
    restart_seconds: float = 5.0
    """Before the first restart; twice as long before each later one."""
    longest_restart_seconds: float = 300.0
    poll_seconds: float = 0.1
    start_seconds: float = START_SECONDS
    """The least time without a sign of life, before the first step, that is a hang."""


class Overseer:
    """Stays with the ranks until the last has ended."""

    def __init__(
        self,
        ranks: Sequence[RankProcess],
        interrupts: Interrupts,
        patience: Patience,
        watchdog: Watchdog,
        lease: Lease | None = None,
        log_clock: LogClock | None = None,
    ) -> None:
        """`lease` is renewed meanwhile, and `log_clock` notes how logs grow."""
        self.ranks = ranks
        self.interrupts = interrupts
        self.patience = patience
        self.watchdog = watchdog
        self.lease = lease
        self.log_clock = log_clock
        self.hang: Hang | None = None
        """Why all ranks were ended, if that is why."""
        self._told = False
        self.gave_up = False
        """Ranks are left that cannot be killed; they hold the run's lease until they are gone."""
        self._first_failure: float | None = None
        self._first_leave: float | None = None

    def wait(self) -> None:
        """Return when no rank lives any more, or those that do cannot even be killed."""
        while not self.gave_up and [rank for rank in self.ranks if rank.poll()]:
            if self.lease is not None:
                self.lease.renew()
            if self.log_clock is not None:
                self.log_clock.tick()
            self.interrupts.poll()
            self._act(time.monotonic())
            time.sleep(self.patience.poll_seconds)

    def kill(self) -> None:
        """End all ranks at once and wait for them, though not for ever."""
        for rank in self.ranks:
            rank.kill()
        deadline = time.monotonic() + self.patience.kill_seconds
        while any(rank.poll() for rank in self.ranks):
            if time.monotonic() > deadline:
                self.gave_up = True
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS_AFTER_A_KILL)

    def _act(self, now: float) -> None:
        if self.interrupts.insisted:
            self.kill()
        elif self.interrupts.wanted:
            self._tell(self.interrupts.number)
        if self.interrupts.take_checkpoint():
            for rank in self.ranks:
                rank.send(CHECKPOINT_SIGNAL)
        self._after_failure(now)
        self._after_leave(now)
        self._after_silence(now)

    def _after_failure(self, now: float) -> None:
        if self._first_failure is None:
            if any(rank.failed for rank in self.ranks):
                self._first_failure = now
            return
        waited = now - self._first_failure
        if waited > self.patience.notice_seconds + self.patience.terminate_seconds:
            self.kill()
        elif waited > self.patience.notice_seconds:
            self._tell(signal.SIGTERM)

    def _after_leave(self, now: float) -> None:
        """One rank that left alone, for example by a signal of its own, takes the others with it."""
        if self._first_leave is None:
            if any(rank.left for rank in self.ranks):
                self._first_leave = now
                # Neither a preemption nor a second Ctrl-C after one to a single rank.
                self._tell(signal.SIGHUP)
        elif now - self._first_leave > self._seconds_to_follow():
            self.kill()

    def _seconds_to_follow(self) -> float:
        # Without one that left in the middle of things, the others can save nothing.
        abruptly = any(rank.exit_code == ExitCode.LEFT for rank in self.ranks)
        return self.patience.notice_seconds if abruptly else self.patience.leave_seconds

    def _after_silence(self, now: float) -> None:
        if self.hang is None and any(rank.exit_code is None for rank in self.ranks):
            self.hang = self.watchdog.look(now)
            if self.hang is not None:
                self.kill()

    def _tell(self, number: signal.Signals) -> None:
        """Once only: a second signal must not disturb the saving that the first one started."""
        if not self._told:
            self._told = True
            for rank in self.ranks:
                rank.terminate(number)
