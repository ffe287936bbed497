"""Where the time of a step goes, part by part, without waiting for the device.

The parts of a step follow each other without a gap, so they add up to its seconds. On CUDA devices a
part is what the device needed: the time until the host had queued its work counts where it was idle.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Protocol

import torch

PARTS: Final = ("data", "forward", "backward", "optimizer")
"""Parts that have a name; what is left is hooks, log points and what ranks agree on between steps."""
REST: Final = "rest"
_LEAST_SECONDS: Final = 1e-9

Times = dict[str, float]
"""Seconds by part, `REST` included."""


class Split(Protocol):
    """A clock that is told which part of a step has just ended."""

    def mark(self, part: str) -> None:
        """What came since the last mark belongs to `part`."""

    def end_step(self) -> None:
        """A step is over; what came since the last mark belongs to `REST`."""

    def read(self) -> list[Times]:
        """The parts of each step that ended since the last call. May wait for the device."""

    def restart(self) -> None:
        """Leave out what happened since the last mark. Only after `read`."""


class HostSplit:
    """By the host's clock: right where operations are synchronous."""

    def __init__(self) -> None:
        self._steps: list[Times] = []
        self._times: Times = {}
        self._last = time.perf_counter()

    def mark(self, part: str) -> None:
        """What came since the last mark belongs to `part`."""
        now = time.perf_counter()
        self._times[part] = self._times.get(part, 0.0) + now - self._last
        self._last = now

    def end_step(self) -> None:
        """A step is over."""
        self.mark(REST)
        self._steps.append(self._times)
        self._times = {}

    def read(self) -> list[Times]:
        """The parts of each step that ended since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def restart(self) -> None:
        """Leave out what happened since the last mark."""
        self._last = time.perf_counter()


class CudaSplit:
    """By events on the CUDA stream, which the host does not wait for before `read`."""

    def __init__(self) -> None:
        self._spare: list[torch.cuda.Event] = []
        self._last = self._record()
        self._marks: list[tuple[str, torch.cuda.Event]] = []
        self._ends: list[int] = []
        """How many marks there were when each step ended."""

    def mark(self, part: str) -> None:
        """What the device did since the last mark belongs to `part`."""
        self._marks.append((part, self._record()))

    def end_step(self) -> None:
        """A step's work has been queued."""
        self.mark(REST)
        self._ends.append(len(self._marks))

    def read(self) -> list[Times]:
        """The parts of each step that ended since the last call; waits for the last one."""
        ends, self._ends = self._ends, []
        count = ends[-1] if ends else 0
        marks, self._marks = self._marks[:count], self._marks[count:]
        if not marks:
            return []
        marks[-1][1].synchronize()
        steps, start = [], 0
        for end in ends:
            steps.append(self._times(marks[start:end]))
            start = end
        return steps

    def restart(self) -> None:
        """Leave out what happened since the last mark."""
        self._spare += [event for _, event in self._marks]
        self._marks = []
        self._spare.append(self._last)
        self._last = self._record()

    def _times(self, marks: Iterable[tuple[str, torch.cuda.Event]]) -> Times:
        times: Times = {}
        for part, event in marks:
            seconds = self._last.elapsed_time(event) / 1000
            times[part] = times.get(part, 0.0) + seconds
            self._spare.append(self._last)
            self._last = event
        return times

    def _record(self) -> torch.cuda.Event:
        event = self._spare.pop() if self._spare else torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def make_split(device: torch.device) -> HostSplit | CudaSplit:
    """The clock for a device, started."""
    return CudaSplit() if device.type == "cuda" else HostSplit()


def step_seconds(times: Times) -> float:
    """Seconds of a whole step."""
    return max(sum(times.values()), _LEAST_SECONDS)


def part_seconds(times: Times, wait_seconds: float = 0.0) -> dict[str, float]:
    """`data_seconds` and so on of a step's row.

    What the rank waited for others is taken out of the backward pass in which it did so, and what that
    does not hold out of the optimizer's part.
    """
    parts = {part: times.get(part, 0.0) for part in PARTS}
    left = wait_seconds
    for part in ("backward", "optimizer"):
        taken = min(left, parts[part])
        parts[part] -= taken
        left -= taken
    return {f"{part}_seconds": seconds for part, seconds in parts.items()}
