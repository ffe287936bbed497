"""How long until a mistake in the configuration is reported: from the start of a process to its end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import environment
from workload import Workload

MISTAKES: Mapping[str, Callable[[Workload], Workload]] = {
    "a misspelt option": lambda work: replace(work, options={"learning_rte": 1e-4}),
    "a micro-batch of 0 rows": lambda work: replace(work, micro_batch_size=0),
    "a data file that is not there": lambda work: replace(
        work, rows=_missing(work), data=_no_data(work)
    ),
}


def _missing(workload: Workload) -> str:
    return f"{workload.folder}/missing.jsonl"


def _no_data(workload: Workload) -> dict[str, Any]:
    return {**workload.data, "train": [{"path": _missing(workload), "format": "alpaca"}]}


def time_to_report(command: list[str], timeout: float) -> tuple[float, str | None]:
    """Seconds until the process ended, and the last line of its complaint; None if it ended well."""
    started = time.perf_counter()
    process = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        timeout=timeout,
        check=False,
    )
    seconds = time.perf_counter() - started
    lines = process.stdout.decode(errors="replace").strip().splitlines() or [""]
    return seconds, lines[-1][:200] if process.returncode else None


def mistaken(workload: Workload, name: str, folder: Path) -> Workload:
    """The workload with this mistake, and a directory of its own."""
    return MISTAKES[name](replace(workload, folder=str(folder)))
