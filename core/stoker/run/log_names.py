"""Which logs an attempt of a run has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stoker.run.directory import RANK_LOG, RunDirectory
from stoker.run.log_text import Log, LogText, arrivals_path
from stoker.run.record import RunRecord

_ATTEMPT = re.compile(r"attempt-(\d+)")


def attempts_of(directory: RunDirectory) -> list[int]:
    """Attempts that have a folder of logs, from the first."""
    names = _names(directory.path / "logs")
    return sorted(int(match[1]) for name in names if (match := _ATTEMPT.fullmatch(name)))


def logs_of(directory: RunDirectory, attempt: int) -> list[Log]:
    """The ranks' logs by rank, then what else was written: stacks, trackers, a supervisor's failure."""
    folder = directory.attempt_path(attempt)
    names = _names(folder)
    ranks = sorted(int(match[1]) for name in names if (match := RANK_LOG.fullmatch(name)))
    logs = [rank_log(directory, attempt, rank) for rank in ranks]
    others = sorted(name for name in names if name.endswith((".log", ".stack")))
    logs += [_other(folder / name) for name in others if not RANK_LOG.fullmatch(name)]
    if _has_bytes(directory.supervisor_log_path):
        logs.append(Log("supervisor", directory.supervisor_log_path))
    return logs


def rank_log(directory: RunDirectory, attempt: int, rank: int) -> Log:
    """The log of one rank, whether there is one or not."""
    return Log(f"r{rank}", directory.log_path(attempt, rank), rank)


def failing_rank(record: RunRecord, attempt: int) -> int | None:
    """The rank that failed first in that attempt, where the record tells."""
    if record.error is None or attempt != record.attempt:
        return None
    rank = record.error.get("rank")
    return rank if isinstance(rank, int) else None


def open_logs(directory: RunDirectory, attempt: int, logs: Iterable[Log]) -> LogText:
    """These logs of an attempt as one text; nothing is read yet."""
    return LogText(tuple(logs), arrivals_path(directory.attempt_path(attempt)))


def _other(path: Path) -> Log:
    is_stack = path.suffix == ".stack"
    name = path.stem.replace("rank-", "r")
    return Log(f"{name} stack" if is_stack else name, path)


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
