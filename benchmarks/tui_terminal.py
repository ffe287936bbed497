"""What benchmarks/tui.py measures with: the cockpit in a pseudo-terminal, runs written live."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from stoker.run.directory import RunDirectory

TESTS = Path(__file__).parents[1] / "tests" / "tui"
_SETTLED_SECONDS = 0.4
_BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
_CELLS_OF_CHARTS = 200


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


written = _load("written_runs")
terminals = _load("terminals")


@dataclass(frozen=True)
class Use:
    """What a process used while it was looked at."""

    cpu_percent: float
    """Of one core."""
    bytes_per_second: float
    """Written to the terminal."""
    megabytes: float
    """Resident, with its children."""


class Cockpit:
    """The cockpit in a pseudo-terminal of its own, with settings of its own."""

    def __init__(self, folder: Path, *arguments: str, size: tuple[int, int] = (160, 50)) -> None:
        self.pty = terminals.Pty(
            "tui", *arguments, cwd=folder, size=size, XDG_STATE_HOME=str(folder / "state")
        )
        self.process = psutil.Process(self.pty.process.pid)

    def wait_for(self, text: str, seconds: float = 60) -> float:
        """Wait for a text; returns seconds since the process was started."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.pty.output:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} is not shown within {seconds:g} s")
            time.sleep(0.002)
        return time.monotonic() - self.pty.started

    def wait_for_curves(self, seconds: float = 60) -> float:
        """Wait until charts are drawn; returns seconds since the process was started."""
        deadline = time.monotonic() + seconds
        while len(_BRAILLE.findall(self.pty.output)) < _CELLS_OF_CHARTS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"there are no charts within {seconds:g} s")
            time.sleep(0.01)
        return time.monotonic() - self.pty.started

    def settle(self, seconds: float = 60) -> None:
        """Wait until nothing has been written for a while."""
        deadline, size, since = time.monotonic() + seconds, -1, time.monotonic()
        while time.monotonic() < deadline:
            if len(self.pty.output) != size:
                size, since = len(self.pty.output), time.monotonic()
            elif time.monotonic() - since > 3 * _SETTLED_SECONDS:
                return
            time.sleep(0.01)

    def use(self, seconds: float) -> Use:
        """Look for so many seconds."""
        cpu, size, begin = self._cpu_seconds(), len(self.pty.output), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - begin
        return Use(
            100 * (self._cpu_seconds() - cpu) / elapsed,
            (len(self.pty.output) - size) / elapsed,
            sum(each.memory_info().rss for each in self._processes()) / 1e6,
        )

    def key_seconds(self, key: str) -> float:
        """From a key to the end of the first burst of what it changes; infinite for nothing."""
        before, begin = len(self.pty.output), time.monotonic()
        self.pty.press(key)
        while len(self.pty.output) == before:
            if time.monotonic() - begin > 5:
                return float("inf")
            time.sleep(0.001)
        size, last = len(self.pty.output), time.monotonic()
        while time.monotonic() - last < 0.03:
            if len(self.pty.output) != size:
                size, last = len(self.pty.output), time.monotonic()
            time.sleep(0.001)
        return last - begin

    def close(self) -> None:
        """Leave it."""
        self.pty.end()

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def _cpu_seconds(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._processes())


@contextmanager
def opened(folder: Path, *arguments: str, size: tuple[int, int] = (160, 50)) -> Iterator[Cockpit]:
    """A cockpit that is left afterwards."""
    cockpit = Cockpit(folder, *arguments, size=size)
    try:
        yield cockpit
    finally:
        cockpit.close()


@contextmanager
def repeated(work: Callable[[int], None], period: float) -> Iterator[None]:
    """Call `work(0)`, `work(1)`, ... in a thread, once a period."""
    done = threading.Event()

    def loop() -> None:
        begin, count = time.monotonic(), 0
        while not done.wait(max(0.0, begin + count * period - time.monotonic())):
            work(count)
            count += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def append(path: Path, *lines: dict[str, Any]) -> None:
    """Whole lines at the end of a file, at once."""
    with path.open("ab") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())


def live_run(folder: Path, name: str, *, steps: int, total: int, ranks: int = 8) -> RunDirectory:
    """A run that is at work now; the caller holds its lease by `written.at_work`."""
    age = written.EPOCH - (time.time() - steps * written.STEP_SECONDS - 30)
    run: RunDirectory = written.write_run(
        folder / "runs", name, "running", steps=steps, total=total, ranks=ranks, age_seconds=age
    )
    return run


def step_event(step: int, total: int) -> dict[str, Any]:
    """One step, done now."""
    return {**written._step(written.EPOCH, step, total, 1), "t": time.time()}


def telemetry(step: int, ranks: int) -> list[dict[str, Any]]:
    """A sample of every GPU and a line of every rank, now."""
    begin = time.time() - 20 - 10 * written.STEP_SECONDS
    return [
        {**line, "t": time.time(), **({"step": step} if "step" in line else {})}
        for line in written._telemetry(begin, 10, ranks, 2, 1)
        if line["kind"] != "gpus"
    ]


def write_many(folder: Path, count: int) -> None:
    """So many finished runs of five steps."""
    for number in range(count):
        written.write_run(folder / "runs", f"run-{number:05}", steps=5, total=5, ranks=1, gpus=False)


def write_long(folder: Path, steps: int) -> None:
    """A finished run of so many steps, written in seconds: lines differ in their numbers only."""
    run = written.write_run(folder / "runs", "long", steps=100, total=steps, ranks=8)
    run.update_record(step=steps, total_steps=steps)
    with run.events_path.open("w") as file:
        for first in range(1, steps + 1, 10_000):
            last = min(steps, first + 9_999)
            rows = (written._step(written.EPOCH, step, steps, 1) for step in range(first, last + 1))
            file.writelines(json.dumps(row) + "\n" for row in rows)


def stoker_environment() -> dict[str, str]:
    """For processes that train: one thread each, as two ranks on two cores want it."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}
