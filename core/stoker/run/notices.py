"""What plugins learn from outside about the end of this machine's time. Torch-free."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Says that the machine is about to be taken away, or that it may be soon.

    What the hook `collect_notices` returns. The core acts once on each notice that differs from those
    before.
    """

    provider: str
    """Who says so: `aws`, `slurm`, `file` ..."""
    reason: str
    """In words, for events and messages: "AWS terminates this instance at 2026-01-01T00:00:00Z"."""
    leave: bool = True
    """Save and leave. False for a mere hint: save a checkpoint and go on."""
    deadline: float | None = None
    """When this process must have left, in seconds of `time.monotonic()`; None where nobody knows."""
    received: float = field(default_factory=time.time, compare=False)
    """When it was first seen, in Unix seconds; a label only."""

    def seconds_left(self) -> float | None:
        """Until the deadline, from now; negative after it."""
        return None if self.deadline is None else self.deadline - time.monotonic()
