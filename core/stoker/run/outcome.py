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

_NO_FAILURE = frozenset({ExitCode.DONE, ExitCode.STOPPED})


@dataclass(frozen=True, kw_only=True)
class RankError:
    """What went wrong, in words."""

    message: str
    hint: str = ""
    traceback: str | None = None
    """For bugs only: errors a user can act on have none."""


@dataclass(frozen=True, kw_only=True)
class RankOutcome:
    """One rank's end."""

    rank: int
    exit_code: int
    time: float
    """Unix seconds: the first failure is the cause, later ones follow from it."""
    step: int = 0
    preempted: bool = False
    """Left because the machine is about to be taken away, not because someone asked."""
    error: RankError | None = None

    @property
    def failed(self) -> bool:
        """True for anything but done and stopped."""
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
) -> None:
    """Write a rank's outcome file. An empty message means that nothing went wrong.

    Raises `StorageError`.
    """
    error = RankError(message=message, hint=hint, traceback=traceback or None) if message else None
    outcome = RankOutcome(
        rank=rank,
        exit_code=int(exit_code),
        time=time.time(),
        step=step,
        preempted=preempted,
        error=error,
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
        error=error and RankError(**error),
    )


def first_failure(outcomes: Iterable[RankOutcome]) -> RankOutcome | None:
    """The earliest failure: the others usually fail because of it."""
    failures = [outcome for outcome in outcomes if outcome.failed]
    return min(failures, key=lambda outcome: outcome.time, default=None)


def combined_exit_code(outcomes: Iterable[RankOutcome]) -> int:
    """The exit code of an attempt: the first failure's, else stopped if any rank was, else done."""
    outcomes = list(outcomes)
    failure = first_failure(outcomes)
    if failure is not None:
        return failure.exit_code
    return max((outcome.exit_code for outcome in outcomes), default=int(ExitCode.FAILED))
