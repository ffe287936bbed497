"""Signs of life: each rank notes what it does, and its supervisor sees when that no longer changes.

The file is rewritten in place, a few microseconds a time, and is of no use after the attempt.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HEARTBEAT_VARIABLE = "STOKER_HEARTBEAT"
"""Environment variable with the path of a rank's file; supervisors set it."""
_LENGTH = 200


class Heartbeat:
    """The rank's side. Does nothing without a path: foreign launchers have no one who looks."""

    def __init__(self, path: Path | None) -> None:
        self._descriptor: int | None = None
        self._count = 0
        self.is_warm = False
        """Set once the attempt's first step is done; told with the next sign of life."""
        self.phase = "starting"
        """What was noted last."""
        if path is not None:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @classmethod
    def from_environment(cls) -> Heartbeat:
        """The one whose file the supervisor named."""
        path = os.environ.get(HEARTBEAT_VARIABLE)
        return cls(Path(path) if path else None)

    def beat(self, phase: str) -> None:
        """Note that work goes on, and what this rank does from now: "step 12", "saving"."""
        self.phase = phase
        if self._descriptor is not None:
            self._count += 1
            text = f"{self._count} {self.is_warm:d} {phase}"[:_LENGTH].ljust(_LENGTH)
            # On a full disk a sign of life may not fit; that is for the saves to report.
            with suppress(OSError):
                os.pwrite(self._descriptor, text.encode(), 0)


@dataclass(frozen=True)
class Beat:
    """A rank's latest sign of life."""

    count: int = 0
    """How many there were; the rank of several in a deadlock that has the fewest is the culprit."""
    phase: str = "starting"
    is_warm: bool = False
    """Whether the attempt's first step is done, before which kernels are compiled."""


def read_beat(path: Path) -> Beat:
    """The latest sign of life; the default where there is none yet."""
    try:
        count, warm, phase = path.read_text(errors="replace").strip().split(" ", 2)
        return Beat(int(count), phase, warm == "1")
    except (OSError, ValueError):
        return Beat()
