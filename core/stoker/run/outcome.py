"""How each rank ended, in a file of its own: launchers turn exit codes into 1, files keep them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.files import make_private_directory, replace_file
from stoker.run.host import boot_id

_NO_FAILURE = frozenset({ExitCode.DONE, ExitCode.OVER_BUDGET, ExitCode.STOPPED, ExitCode.LEFT})


@dataclass(frozen=True, kw_only=True)
class RankError:
    """What went wrong, in words."""

    message: str
    hint: str = ""
    traceback: str | None = None
    """For bugs only: errors a user can act on have none."""
    step: int | None = None
    """The step whose loss or gradient was not finite, where that is what went wrong."""


@dataclass(frozen=True, kw_only=True)
class RankOutcome:
    """One rank's end."""

    rank: int
    exit_code: int
    time: float
    """Unix seconds, by a clock that may be set at any moment; see `uptime`."""
    step: int = 0
    preempted: bool = False
    """Left because the machine is about to be taken away, not because someone asked."""
    reason: str = ""
    """Why it left before the run's end, in words, as far as it knows."""
    error: RankError | None = None
    uptime: float = 0.0
    """Seconds of the machine's monotonic clock: the first failure is the cause, later ones follow."""
    boot_id: str = ""
    """Which machine's monotonic clock, since which start."""

    @property
    def failed(self) -> bool:
        """True for anything but done, over budget, stopped and left."""
        return self.exit_code not in _NO_FAILURE


def write_outcome(
    directory: RunDirectory,
    attempt: int,
    rank: int,
    exit_code: int,
    *,
    step: int = 0,
    message: str = "",
    hint: str = "",
    traceback: str = "",
    preempted: bool = False,
    reason: str = "",
    failed_step: int | None = None,
) -> None:
    """Write a rank's outcome file. An empty message means that nothing went wrong.

    Raises `StorageError`.
    """
    error = None
    if message:
        error = RankError(message=message, hint=hint, traceback=traceback or None, step=failed_step)
    outcome = RankOutcome(
        rank=rank,
        exit_code=int(exit_code),
        time=time.time(),
        step=step,
        preempted=preempted,
        reason=reason,
        error=error,
        uptime=time.monotonic(),
        boot_id=boot_id(),
    )
    path = directory.outcome_path(attempt, rank)
    make_private_directory(path.parent)
    replace_file(path, json.dumps({"v": 1, **asdict(outcome)}, indent=1))


def read_outcomes(directory: RunDirectory, attempt: int) -> list[RankOutcome]:
    """Outcomes of an attempt by rank; ranks that were killed have none."""
    found = []
    for path in directory.attempt_path(attempt).glob("rank-*.outcome.json"):
        try:
            found.append(_parse(json.loads(path.read_text())))
        except (OSError, ValueError, KeyError, TypeError):
            # Written at once or not at all; whatever else lies there is not an outcome.
            continue
    return sorted(found, key=lambda outcome: outcome.rank)


def _parse(values: Mapping[str, Any]) -> RankOutcome:
    error = values.get("error")
    return RankOutcome(
        rank=int(values["rank"]),
        exit_code=int(values["exit_code"]),
        time=float(values["time"]),
        step=int(values.get("step", 0)),
        preempted=bool(values.get("preempted", False)),
        reason=str(values.get("reason", "")),
        error=error and RankError(**error),
        uptime=float(values.get("uptime", 0.0)),
        boot_id=str(values.get("boot_id", "")),
    )


def first_failure(outcomes: Iterable[RankOutcome]) -> RankOutcome | None:
    """The earliest failure: the others usually fail because of it."""
    failures = [outcome for outcome in outcomes if outcome.failed]
    # Monotonic clocks of different machines cannot be compared; those who set clocks set them all.
    one_clock = len({outcome.boot_id for outcome in failures}) == 1
    return min(failures, key=lambda each: (each.uptime if one_clock else 0, each.time), default=None)


def combined_exit_code(outcomes: Iterable[RankOutcome]) -> int:
    """The exit code of an attempt: the first failure's, else that of a rank that left, if any did."""
    outcomes = list(outcomes)
    failure = first_failure(outcomes)
    if failure is not None:
        return failure.exit_code
    codes = {outcome.exit_code for outcome in outcomes}
    # Before ranks have met, the one that knows of a spent budget leaves, and the others only follow it.
    if ExitCode.OVER_BUDGET in codes and ExitCode.LEFT not in codes:
        return int(ExitCode.OVER_BUDGET)
    return max(codes, default=int(ExitCode.FAILED))
