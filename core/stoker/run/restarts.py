"""Restarts after failures: which failures, how often, and how long after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from stoker.errors import ExitCode, UsageError
from stoker.run.interrupts import Interrupts
from stoker.run.lease import Lease
from stoker.run.ranks import Topology
from stoker.run.waiting import Patience

FINAL_CODES: Final = frozenset(
    {
        ExitCode.DONE,
        ExitCode.USAGE,
        ExitCode.DOES_NOT_FIT,
        ExitCode.OVER_BUDGET,
        ExitCode.ENVIRONMENT,
        ExitCode.NON_FINITE,
        ExitCode.STOPPED,
        ExitCode.LEFT,
    }
)
"""Ends that come again, or that someone wanted: no restart mends them."""


@dataclass(frozen=True)
class Restart:
    """One restart that is going to be."""

    number: int
    """Counts from 1."""
    of: int
    """How many there may be."""
    seconds: float
    """Until then."""

    def describe(self) -> str:
        """`restart 1 of 3 in 5 s`."""
        return f"restart {self.number} of {self.of} in {self.seconds:g} s"


class Restarts:
    """Counts the restarts of a launch."""

    def __init__(self, most: int, patience: Patience) -> None:
        self.most = most
        self.patience = patience
        self._count = 0

    def after(self, exit_code: int) -> Restart | None:
        """The restart that follows an attempt which ended so; None if that was the end."""
        if exit_code in FINAL_CODES or self._count >= self.most:
            return None
        seconds = self.patience.restart_seconds * 2.0**self._count
        self._count += 1
        return Restart(self._count, self.most, min(seconds, self.patience.longest_restart_seconds))


def wait_for(
    restart: Restart, interrupts: Interrupts, patience: Patience, lease: Lease | None = None
) -> bool:
    """Wait until it is time, and renew the lease. Returns False, at once, if a stop is asked for."""
    deadline = time.monotonic() + restart.seconds
    while not interrupts.wanted:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return True
        if lease is not None:
            lease.renew()
        time.sleep(min(patience.poll_seconds, remaining))
        interrupts.poll()
    return False


def refuse_on_several_nodes(max_restarts: int, topology: Topology) -> None:
    """Raise `UsageError` where nodes would have to be restarted together: nobody here can do that."""
    if max_restarts > 0 and topology.nodes > 1:
        raise UsageError(
            f"launch.max_restarts = {max_restarts} is for one node, and this run has {topology.nodes}.",
            hint="Let the cluster restart all nodes, by the exit code, and set launch.max_restarts=0.",
        )
