"""The beginning and the end of an attempt in a run's record and events."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from stoker.errors import ExitCode
from stoker.run.control import clear
from stoker.run.directory import RunDirectory
from stoker.run.events import SUPERVISOR_RANK, EventWriter
from stoker.run.host import boot_id, host_name
from stoker.run.lease import Lease
from stoker.run.outcome import RankOutcome, combined_exit_code, first_failure
from stoker.run.record import (
    ATTEMPT_SECONDS,
    INTERRUPTIONS,
    OBSERVED_SECONDS,
    PEACEFUL_ENDS,
    RunRecord,
    State,
)
from stoker.run.restarts import Restart
from stoker.run.watchdog import Hang

_TAIL_LINES = 20
_TAIL_BYTES = 20_000


def take_over(directory: RunDirectory, change: Callable[[], None] = lambda: None) -> Lease:
    """Take the run's lease and leave what an earlier attempt left behind: requests, its exit code.

    From here on watchers see an active run. `change` is called before that, with the lease held; where
    it raises, the lease is free again. Raises `UsageError` if somebody else holds the lease.
    """
    lease = Lease.take(directory.lease_path)
    try:
        change()
    except BaseException:
        lease.release()
        raise
    clear(directory)
    directory.update_record(
        state="preparing", host=host_name(), boot_id=boot_id(), pid=os.getpid(), exit_code=None
    )
    return lease


def begin_attempt(directory: RunDirectory, *, nproc: int, nodes: int) -> int:
    """Note that a new attempt starts; the caller holds the lease. Returns its number, from 1."""
    before = directory.read_record()
    attempt = before.attempt + 1
    directory.update_record(
        attempt=attempt,
        facts=before.facts | _observed(before),
        state="preparing",
        host=host_name(),
        boot_id=boot_id(),
        pid=os.getpid(),
        nproc=nproc,
        nodes=nodes,
        exit_code=None,
        error=None,
        reason=None,
        started=time.time(),
        ended=None,
    )
    EventWriter(directory.events_path, attempt, SUPERVISOR_RANK).write("state", state="preparing")
    return attempt


def _observed(record: RunRecord) -> dict[str, float]:
    """What the attempts so far say of interruptions: how often, and in how many seconds of training.

    One that was done, or that someone stopped, was not interrupted; one that was lost never said how it
    ended.
    """
    facts = record.facts
    return {
        OBSERVED_SECONDS: facts.get(OBSERVED_SECONDS, 0.0) + facts.get(ATTEMPT_SECONDS, 0.0),
        ATTEMPT_SECONDS: 0.0,
        INTERRUPTIONS: record.attempt - facts.get(PEACEFUL_ENDS, 0),
    }


def attempt_exit_code(outcomes: Sequence[RankOutcome], *, left: bool) -> int:
    """The exit code of an attempt; `left` says that it was left without a save."""
    return int(ExitCode.LEFT) if left else combined_exit_code(outcomes)


def end_attempt(
    directory: RunDirectory,
    attempt: int,
    outcomes: Sequence[RankOutcome],
    *,
    left: bool = False,
    restart: Restart | None = None,
) -> RunRecord:
    """Note how the attempt ended. `left` says that it was left without a save.

    With a `restart` the run stays active, for watchers, until that begins.
    """
    exit_code = attempt_exit_code(outcomes, left=left)
    failure = None if left else first_failure(outcomes)
    state = final_state(exit_code, outcomes)
    changes: dict[str, Any] = {"state": state, "exit_code": exit_code, "ended": time.time()}
    changes["error"] = failure and describe_failure(directory, attempt, failure)
    if failure is None:
        changes["reason"] = next((outcome.reason for outcome in outcomes if outcome.reason), None)
    if step := max((outcome.step for outcome in outcomes), default=0):
        changes["step"] = step
    events = EventWriter(directory.events_path, attempt, SUPERVISOR_RANK)
    # The event comes first: whoever sees the record's final state has seen the last event, too.
    events.write("state", state=state, exit_code=exit_code, error=changes["error"])
    if state in ("done", "stopped"):
        facts = directory.read_record().facts
        changes["facts"] = facts | {PEACEFUL_ENDS: facts.get(PEACEFUL_ENDS, 0) + 1}
    if restart is not None:
        message = changes["error"]["message"] if changes["error"] else f"exit code {exit_code}."
        events.write(
            "alert",
            message=f"attempt {attempt} failed: {message} {restart.describe()}.",
            exit_code=exit_code,
            restart=restart.number,
            max_restarts=restart.of,
            restart_seconds=restart.seconds,
        )
        changes |= {"state": "preparing", "exit_code": None, "error": None}
    events.close()
    return directory.update_record(**changes)


def end_before_restart(directory: RunDirectory, attempt: int, *, left: bool) -> int:
    """Note that a stop was asked for between a failed attempt and its restart: nothing is unsaved.

    `left` says that someone insisted. Returns the run's exit code.
    """
    exit_code = int(ExitCode.LEFT if left else ExitCode.STOPPED)
    events = EventWriter(directory.events_path, attempt, SUPERVISOR_RANK)
    events.write("state", state="stopped", exit_code=exit_code, error=None)
    events.close()
    directory.update_record(state="stopped", exit_code=exit_code)
    return exit_code


def report_hang(directory: RunDirectory, attempt: int, hang: Hang) -> None:
    """Say that ranks hang and are ended for it."""
    events = EventWriter(directory.events_path, attempt, SUPERVISOR_RANK)
    events.write(
        "alert",
        message=hang.message,
        hung_rank=hang.rank,
        phase=hang.phase,
        silent_seconds=hang.seconds,
        stack=hang.stack and str(hang.stack.relative_to(directory.path)),
        others=hang.others,
    )
    events.close()


def final_state(exit_code: int, outcomes: Sequence[RankOutcome]) -> State:
    """The state that an attempt leaves its run in."""
    if exit_code == ExitCode.DONE:
        return "done"
    if exit_code in (ExitCode.OVER_BUDGET, ExitCode.STOPPED, ExitCode.LEFT):
        return "preempted" if any(outcome.preempted for outcome in outcomes) else "stopped"
    return "failed"


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
        "step": error.step if error else None,
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
