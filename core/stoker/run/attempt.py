"""The beginning and the end of an attempt in a run's record and events."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from stoker.errors import ExitCode
from stoker.run.control import clear
from stoker.run.directory import RunDirectory
from stoker.run.events import SUPERVISOR_RANK, EventWriter
from stoker.run.host import boot_id, host_name
from stoker.run.lease import Lease
from stoker.run.outcome import RankOutcome, combined_exit_code, first_failure
from stoker.run.record import RunRecord, State

_TAIL_LINES = 20
_TAIL_BYTES = 20_000


def take_over(directory: RunDirectory) -> Lease:
    """Take the run's lease and leave what an earlier attempt left behind: requests, its exit code.

    From here on watchers see an active run. Raises `UsageError` if somebody else holds the lease.
    """
    lease = Lease.take(directory.lease_path)
    clear(directory)
    directory.update_record(
        state="preparing", host=host_name(), boot_id=boot_id(), pid=os.getpid(), exit_code=None
    )
    return lease


def begin_attempt(directory: RunDirectory, *, nproc: int, nodes: int) -> int:
    """Note that a new attempt starts; the caller holds the lease. Returns its number, from 1."""
    attempt = directory.read_record().attempt + 1
    directory.update_record(
        attempt=attempt,
        state="preparing",
        host=host_name(),
        boot_id=boot_id(),
        pid=os.getpid(),
        nproc=nproc,
        nodes=nodes,
        exit_code=None,
        error=None,
        started=time.time(),
        ended=None,
    )
    EventWriter(directory.events_path, attempt, SUPERVISOR_RANK).write("state", state="preparing")
    return attempt


def end_attempt(
    directory: RunDirectory, attempt: int, outcomes: Sequence[RankOutcome], *, left: bool = False
) -> RunRecord:
    """Note how the attempt ended. `left` says that someone insisted on leaving without a save."""
    exit_code = int(ExitCode.LEFT) if left else combined_exit_code(outcomes)
    failure = None if left else first_failure(outcomes)
    state = final_state(exit_code, outcomes)
    changes: dict[str, Any] = {"state": state, "exit_code": exit_code, "ended": time.time()}
    changes["error"] = failure and describe_failure(directory, attempt, failure)
    if step := max((outcome.step for outcome in outcomes), default=0):
        changes["step"] = step
    events = EventWriter(directory.events_path, attempt, SUPERVISOR_RANK)
    # The event comes first: whoever sees the record's final state has seen the last event, too.
    events.write("state", state=state, exit_code=exit_code, error=changes["error"])
    events.close()
    return directory.update_record(**changes)


def final_state(exit_code: int, outcomes: Sequence[RankOutcome]) -> State:
    """The state that an attempt leaves its run in."""
    if exit_code == ExitCode.DONE:
        return "done"
    if exit_code == ExitCode.STOPPED:
        return "preempted" if any(outcome.preempted for outcome in outcomes) else "stopped"
    return "stopped" if exit_code == ExitCode.LEFT else "failed"


def describe_failure(directory: RunDirectory, attempt: int, failure: RankOutcome) -> dict[str, Any]:
    """The `error` of `run.json`: what the first failing rank said, or the end of its log."""
    log_path = directory.log_path(attempt, failure.rank)
    error = failure.error
    dark = _is_in_the_dark(directory, attempt, failure)
    tail = read_tail(directory, attempt, failure.rank) if dark else []
    return {
        "rank": failure.rank,
        "exit_code": failure.exit_code,
        "message": error.message if error else f"rank {failure.rank} ended with {failure.exit_code}.",
        "hint": error.hint if error else "",
        "log": str(log_path.relative_to(directory.path)),
        "tail": tail,
    }


def _is_in_the_dark(directory: RunDirectory, attempt: int, failure: RankOutcome) -> bool:
    """Whether the error needs the log beside it: a bug, or a rank that could not write an outcome."""
    written = directory.outcome_path(attempt, failure.rank).exists()
    return not written or failure.error is None or failure.error.traceback is not None


def read_tail(directory: RunDirectory, attempt: int, rank: int) -> list[str]:
    """The last lines of a rank's log; none if it never wrote one."""
    try:
        with directory.log_path(attempt, rank).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-_TAIL_LINES:]
