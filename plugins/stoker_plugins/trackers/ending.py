"""How the run ended, as the mirror hears it from rank 0."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from stoker.errors import ExitCode

LOST_SECONDS: Final = 3.0
"""What is left for the rest where rank 0 has failed or gone: others wait to end the run."""
PREEMPTED_SECONDS: Final = 1.0
"""Where the machine is about to go: ranks and supervisor still have to leave."""
SECONDS_TO_LEAVE: Final = 1.0
"""From then until the mirror is gone, in the worst case by its own hand."""


@dataclass(frozen=True)
class Ending:
    """One line on the mirror's standard input; its end without one means that rank 0 is gone."""

    exit_code: int | None = None
    """None where it is not known."""
    preempted: bool = False
    seconds: float = LOST_SECONDS
    """How long the mirror may go on."""

    @classmethod
    def of(cls, exit_code: int, preempted: bool, drain_seconds: float) -> Ending:
        """With the time that this kind of end leaves."""
        if preempted:
            seconds = min(drain_seconds, PREEMPTED_SECONDS)
        elif exit_code in (ExitCode.DONE, ExitCode.STOPPED, ExitCode.OVER_BUDGET):
            seconds = drain_seconds
        else:
            seconds = min(drain_seconds, LOST_SECONDS)
        return cls(exit_code, preempted, seconds)

    @classmethod
    def parse(cls, line: bytes) -> Ending:
        """What `to_line` wrote; an empty line is the end of a rank that could say nothing."""
        return cls(**json.loads(line)) if line.strip() else cls()

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @property
    def word(self) -> str:
        """As `state` of `run.json` calls it, where it has a name for it."""
        if self.exit_code is None:
            return "lost"
        if self.exit_code == ExitCode.DONE:
            return "done"
        if self.exit_code == ExitCode.OVER_BUDGET:
            return "over budget"
        if self.preempted:
            return "preempted"
        return "stopped" if self.exit_code in (ExitCode.STOPPED, ExitCode.LEFT) else "failed"
