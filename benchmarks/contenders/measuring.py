"""Runs a contender in a process of its own and measures it from outside.

Memory is the resident memory of the process and all its descendants, sampled ten times a second: the
largest sum between the beginning of the first step and the end of the last. Shared pages count once for
each process that has touched them; nothing is subtracted.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

INTERVAL_SECONDS = 0.1
THREADS = 2


class ContenderFailed(Exception):
    """It ended with another exit code than 0, or said nothing; its text is the end of its output."""


class Sampler(threading.Thread):
    """Resident bytes of a tree of processes over time."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, int]] = []
        """Unix time and bytes."""
        self._process = psutil.Process(pid)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopped.wait(INTERVAL_SECONDS):
            self.samples.append((time.time(), _resident_bytes(self._process)))

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.join()

    def peak(self, began: float, ended: float) -> int:
        """The largest sample between two Unix times; of a shorter time, the next one to it."""
        within = [size for t, size in self.samples if began <= t <= ended]
        middle = (began + ended) / 2
        return max(within) if within else min(self.samples, key=lambda one: abs(one[0] - middle))[1]


def _resident_bytes(process: psutil.Process) -> int:
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:  # it ended, or ends now
            continue
    return total


def environment(threads: int = THREADS) -> dict[str, str]:
    """Everyone gets the same number of threads, and nobody asks a hub."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def measured(command: list[str], log: Path, timeout: float) -> tuple[Mapping[str, Any], str]:
    """Start it, wait, and return what was seen from outside and its standard output.

    Raises `ContenderFailed`.
    """
    with open(log, "wb") as output:
        started = time.time()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, env=environment())
        sampler = Sampler(process.pid)
        sampler.start()
        try:
            text = process.communicate(timeout=timeout)[0].decode()
        except BaseException:
            process.kill()
            raise
        finally:
            sampler.stop()
    if process.returncode != 0:
        raise ContenderFailed((text + log.read_text(errors="replace"))[-2000:])
    return {"started": started, "peak": sampler.peak}, text


def numbers(result: Mapping[str, Any], outside: Mapping[str, Any], tokens: list[int]) -> dict[str, Any]:
    """What is kept of a run. `tokens`: non-padding tokens of each step; the first step warms up."""
    timed = result["step_seconds"][1:]
    return {
        "tokens_per_second": sum(tokens[1:]) / sum(timed),
        "peak_bytes": outside["peak"](result["began"], result["ended"]),
        "start_up_seconds": result["began"] - outside["started"],
        "losses": result["losses"],
        "step_seconds": result["step_seconds"],
        "held_out": result["held_out"],
        "notes": result["notes"],
    }


def last_line(text: str) -> dict[str, Any]:
    """The JSON that `Meter.report` printed. Raises `ContenderFailed` where there is none."""
    try:
        found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise ContenderFailed(f"no result in its output: {text[-2000:]}") from error
    return found
