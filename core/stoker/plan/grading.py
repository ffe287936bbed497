"""Compares a run with its plan once an attempt is over, and writes the grade beside the plan."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from stoker.plan.history import GradedRun, remember_run
from stoker.run.directory import RunDirectory
from stoker.run.events import Event, read_end
from stoker.run.files import replace_file
from stoker.run.ledger import read_ledger

WARM_UP_STEPS = 2
"""At the beginning of an attempt: kernels are compiled and memory is taken for the first time."""
ENOUGH_STEPS = 5
"""After these, fewer of which say little about the speed of a run."""

_END_BYTES = 4_000_000
"""Of the events: some ten thousand steps, however long the run."""


def read_plan(directory: RunDirectory) -> dict[str, Any] | None:
    """The run's `plan.json`; None where there is none that can be read."""
    try:
        plan = json.loads(directory.plan_path.read_bytes())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def grade(
    directory: RunDirectory, attempt: int, plan: Mapping[str, Any], again: Mapping[str, Any]
) -> None:
    """Write predicted against measured into `plan.json`, and remember it for later plans.

    `plan` is what the run was launched with, `again` a plan made now: that one is remembered, and
    compared where the data were not counted at the launch. Does nothing for an attempt that made too few
    steps. Raises `StorageError`.
    """
    latest = read_end(directory.events_path, _END_BYTES)
    events = [event for event in latest if event.get("attempt") == attempt]
    measured = measure(events)
    if not measured:
        return
    # A part of a run says nothing about what all of it costs.
    if _is_over(events, plan) and (usd := read_ledger(directory.ledger_path).usd):
        measured["cost_usd"] = usd
    is_late = plan["tokens"] is None and "problem" not in again
    said = {
        name: value for name, value in predicted(again if is_late else plan).items() if name in measured
    }
    compared = {
        "attempt": attempt,
        "t": time.time(),
        "after_counting": is_late,
        "predicted": said,
        "measured": measured,
        "ratio": {name: measured[name] / value for name, value in said.items() if value},
    }
    replace_file(directory.plan_path, json.dumps({**plan, "grade": compared}, indent=1) + "\n")
    if "step_seconds" in measured and "problem" not in again:
        remember_run(graded_run(directory.name, again, events))


def _is_over(events: Sequence[Event], plan: Mapping[str, Any]) -> bool:
    return any(event["kind"] == "step" and event["step"] == plan["steps"] for event in events)


def measure(events: Sequence[Event]) -> dict[str, float]:
    """Seconds of a step, tokens a second (medians) and the peaks of memory of an attempt."""
    steps = [event for event in events if event["kind"] == "step"][WARM_UP_STEPS:]
    measured: dict[str, float] = {}
    if len(steps) >= ENOUGH_STEPS:
        for name in ("step_seconds", "tokens_per_second"):
            if values := [step[name] for step in steps if step.get(name)]:
                measured[name] = median(values)
    measured |= _peaks(event for event in events if event["kind"] == "peak_memory")
    return measured


def _peaks(events: Iterable[Event]) -> dict[str, float]:
    """The largest of all ranks, by kind."""
    peaks: dict[str, float] = {}
    for event in events:
        for name in ("allocated", "reserved", "resident"):
            if name in event:
                key = f"{name}_bytes"
                peaks[key] = max(peaks.get(key, 0), event[name])
    return peaks


def predicted(plan: Mapping[str, Any]) -> dict[str, float]:
    """What a plan says of all that can be measured, by the same names."""
    memory = plan["per_gpu"]
    said = {
        "allocated_bytes": memory["allocated"],
        "reserved_bytes": memory["total"] - memory["context"],
        # A process on a CPU holds in one memory what a GPU's has in two.
        "resident_bytes": memory["allocated"] + plan["host_bytes"],
    }
    names = ["step_seconds", "cost_usd"]
    if plan["tokens"] is not None:
        names.append("tokens_per_second")  # else it is of positions, padding included
    said |= {name: plan[name]["mid"] for name in names if plan[name]}
    return said


def graded_run(name: str, plan: Mapping[str, Any], events: Sequence[Event]) -> GradedRun:
    """What is remembered of a run whose steps were timed. `plan` is in the shape of `plan --json`."""
    measured = measure(events)
    said = predicted(plan)
    kind = "allocated_bytes" if "allocated_bytes" in measured else "resident_bytes"
    return GradedRun(
        t=time.time(),
        run=name,
        gpu=plan["gpu"],
        gpus=plan["gpus"],
        engine=plan["situation"]["engine"],
        method=plan["situation"]["method"],
        precision=plan["situation"]["precision"],
        parameters=plan["model"]["parameters"],
        predicted_step_seconds=plan["calibration"]["uncalibrated_step_seconds"] or 0.0,
        step_seconds=measured["step_seconds"],
        predicted_bytes=said[kind],
        bytes=measured.get(kind, 0.0),
        machine=plan["calibration"]["machine"],
    )
