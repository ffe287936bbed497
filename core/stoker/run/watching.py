"""Follows a run to its end, and says at the end how it went and what to type next."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from pathlib import Path

from stoker.errors import ExitCode, StokerError
from stoker.run.directory import DEFAULT_PARENT, RunDirectory
from stoker.run.events import EventTail, start_of_attempt
from stoker.run.lines import clean, format_seconds
from stoker.run.numbers import number
from stoker.run.progress import View
from stoker.run.record import ACTIVE_STATES, RunRecord
from stoker.run.telemetry import TelemetryTail
from stoker.run.throughput import read_throughput

_POLL_SECONDS = 0.2
_SHOWN_TAIL_LINES = 8


def watch_run(
    directory: RunDirectory,
    view: View,
    *,
    since_attempt: int = 0,
    is_over: Callable[[], bool] | None = None,
) -> RunRecord:
    """Show events and telemetry until the run has ended. Returns its record, `lost` included.

    Those of attempts before `since_attempt` are left out. `is_over` replaces the look at the
    record where the caller knows better.
    """
    is_over = is_over or (lambda: directory.effective_state() not in ACTIVE_STATES)
    events = directory.events_path
    tail = EventTail(events, start_of_attempt(events, since_attempt))
    telemetry = TelemetryTail(directory.telemetry_path, since_attempt)
    try:
        while True:
            over = is_over()
            new = heapq.merge(
                tail.read(), telemetry.read(), key=lambda event: number(event.get("t"), 0.0)
            )
            view.show([event for event in new if event.get("attempt", 0) >= since_attempt])
            if over:
                break
            time.sleep(_POLL_SECONDS)
    finally:
        view.close()
    record = directory.read_record()
    return record.changed(state=directory.effective_state(record))


def exit_code_of(record: RunRecord) -> int:
    """The exit code that a finished run stands for."""
    if record.state == "lost" or record.exit_code is None:
        return int(ExitCode.LEFT)
    return record.exit_code


def summarise(directory: RunDirectory, record: RunRecord) -> list[str]:
    """How a run ended and how fast it was, where the result lies, and what to type next."""
    name = handle(directory)
    lines = [f"{record.name}: {_how_it_ended(record)}", *_how_fast(directory)]
    if record.result is not None:
        lines.append(f"result: {relative(directory.path / record.result)}")
    if record.state == "done":
        if record.result is not None:
            lines.append(f"next: stoker export {name} --to DIRECTORY")
        lines.append(f"      stoker show {name}" if record.result else f"next: stoker show {name}")
    elif record.state not in ACTIVE_STATES and record.state != "failed":
        lines.append(f"next: stoker resume {name}")
    return lines


def _how_fast(directory: RunDirectory) -> list[str]:
    speed = read_throughput(directory.events_path)
    if speed is None:
        return []
    lines = [*speed.summary(), *(speed.arithmetic.lines() if speed.arithmetic else ())]
    return [f"{'' if number else 'speed:':<7}{line}" for number, line in enumerate(lines)]


def _how_it_ended(record: RunRecord) -> str:
    steps = f"step {record.step}" + (f" of {record.total_steps}" if record.total_steps else "")
    took = ""
    if record.started is not None and record.ended is not None:
        took = f" after {format_seconds(record.ended - record.started)}"
    if record.state == "lost":
        return f"lost at {steps}: its processes are gone"
    if record.exit_code == ExitCode.LEFT:
        return f"left at {steps}{took}, without a new save"
    why = f": {clean(record.reason)}" if record.reason else ""
    return f"{record.state} at {steps}{took}{why}"


def failure_of(directory: RunDirectory, record: RunRecord) -> StokerError | None:
    """What to tell the user about a failed run; None if it did not fail."""
    if record.state != "failed":
        return None
    error = record.error or {
        "message": "the supervisor could not start the ranks.",
        "log": str(directory.supervisor_log_path.relative_to(directory.path)),
    }
    log = relative(directory.path / error["log"])
    tail = "".join(f"\n  {clean(line)}" for line in error.get("tail", [])[-_SHOWN_TAIL_LINES:])
    hint = f"{error.get('hint', '')} Log: {log}".strip()
    return StokerError(f"{record.name} failed: {clean(error['message'])}{tail}", hint=hint)


def relative(path: Path) -> str:
    """A path as seen from here, where that is shorter."""
    try:
        return str(path.absolute().relative_to(Path(os.getcwd())))
    except ValueError:
        return str(path)


def handle(directory: RunDirectory) -> str:
    """What to type for this run: its name where that is enough, else its path."""
    if directory.path.parent.resolve() == DEFAULT_PARENT.resolve():
        return directory.name
    return str(directory.path)
