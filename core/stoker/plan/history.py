"""What runs on this machine took, beside what their plans had said: later plans are corrected by it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from stoker.cache import cache_directory
from stoker.plan.machine import MachineFacts, read_machine
from stoker.plan.time import Calibration

if TYPE_CHECKING:
    from stoker.plan.situation import Situation

_MOST_RUNS = 50
"""Of a type of GPU; libraries and drivers change, so old runs say little."""
_ALIKE = ("engine", "method", "precision")
_LEAST_SPREAD = 0.05
_SPREAD_OF_ONE = 0.2
"""Of a single run nobody knows by how much the next differs: two runs of one recipe on shared machines
did by up to 15 %, and another size may by more."""


@dataclass(frozen=True)
class GradedRun:
    """One attempt that trained for a while."""

    t: float
    """When it ended, in Unix seconds."""
    run: str
    gpu: str
    gpus: int
    engine: str
    method: str
    precision: str
    parameters: int
    predicted_step_seconds: float
    """By the plan, before other runs corrected it."""
    step_seconds: float
    predicted_bytes: float
    bytes: float
    """The most that a rank had; 0 where that is not known."""
    machine: float = 0.0
    """Which measurement of the machine the prediction went by (`MachineFacts.t`); 0: none."""


def history_path(gpu: str) -> Path:
    """Where runs on a type of GPU are remembered."""
    return cache_directory() / "history" / f"{gpu}.jsonl"


def remember_run(graded: GradedRun) -> None:
    """Add a run. It is there to help: a cache that is full or read-only is no reason to stop."""
    path = history_path(graded.gpu)
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, (json.dumps(asdict(graded)) + "\n").encode())
        finally:
            os.close(descriptor)


def read_history(gpu: str) -> list[GradedRun]:
    """Runs on a type of GPU, the latest last; lines that cannot be read are left out."""
    try:
        lines = history_path(gpu).read_bytes().splitlines()
    except OSError:
        return []
    return list(_parse(lines))[-_MOST_RUNS:]


def _parse(lines: list[bytes]) -> Iterator[GradedRun]:
    known = {entry.name for entry in fields(GradedRun)}
    for line in lines:
        try:
            values: dict[str, Any] = json.loads(line)
            yield GradedRun(**{key: value for key, value in values.items() if key in known})
        except (ValueError, TypeError, AttributeError):
            continue


def machine_alone(situation: Situation, spread: float) -> Calibration | None:
    """What `stoker calibrate` measured, not corrected by any run; None where it never did."""
    machine = read_machine(situation.gpu.name)
    return None if machine is None else _calibration(machine, situation, 1.0, spread, 0)


def calibration_for(situation: Situation, values: Mapping[str, str]) -> Calibration | None:
    """What earlier runs on this type of GPU say, and what was measured of it.

    Of the runs those with the same engine, method and precision, where there are any. None where
    nothing is known.
    """
    machine = read_machine(situation.gpu.name)
    stamp = machine.t if machine else 0.0
    runs = [
        run
        for run in read_history(situation.gpu.name)
        if run.machine == stamp and run.predicted_step_seconds > 0 and run.step_seconds > 0
    ]
    alike = [run for run in runs if all(getattr(run, key) == values.get(key) for key in _ALIKE)]
    ratios = sorted(run.step_seconds / run.predicted_step_seconds for run in alike or runs)
    if not ratios:
        return None
    ratio = median(ratios)
    spread = max(ratios[-1] / ratio - 1, 1 - ratios[0] / ratio, _LEAST_SPREAD)
    if len(ratios) == 1 or not alike:
        spread = max(spread, _SPREAD_OF_ONE)
    return _calibration(machine, situation, ratio, spread, len(ratios))


def _calibration(
    machine: MachineFacts | None, situation: Situation, ratio: float, spread: float, runs: int
) -> Calibration:
    size = str(situation.compute_bytes)
    return Calibration(
        ratio=ratio,
        spread=spread,
        runs=runs,
        matmul_flops=machine.matmul_flops.get(size) if machine else None,
        memory_bandwidth=machine.memory_bandwidth if machine else None,
    )
