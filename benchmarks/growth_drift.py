"""Whether steps get slower, or a process larger, the longer a run lasts.

Two runs of one recipe train in two processes: one goes to step 1,000, the other to step 50,000. From
there they take turns, a block of steps each, and the median of the blocks' ratios counts: what else the
machine does meets both. Resident memory is taken every so many steps of the long run.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any, Self

HIDDEN_SIZE, SAMPLES = 16, 50
FAR = 1_000_000


def run_child(folder: Path, target: int, block: int) -> None:
    """Train up to a step, then a block for each line of standard input, until that ends."""
    os.environ["STOKER_CACHE"] = str(folder / "cache")
    from stoker.dispatch import Hooks
    from stoker.plugin import Plugin, PluginConfig, hookimpl
    from stoker.registry import arrange, make_plugins
    from stoker.run.context import Run
    from stoker.run.directory import RunDirectory
    from stoker.run.events import EventWriter
    from stoker.testing import tiny_recipe, write_tiny_model
    from stoker.train.signals import SignalFlags
    from stoker.train.worker import execute

    class Pacer(Plugin[PluginConfig]):
        """Takes samples, and waits for its turn."""

        Config = PluginConfig
        is_over = False
        started: tuple[float, float] | None = None

        @hookimpl
        def on_step_start(self, state: Any) -> None:
            """`state.step` is about to run."""
            done = state.step - 1
            if done and done <= target and done % max(1, target // SAMPLES) == 0:
                gc.collect()
                tell(step=done, megabytes=private_megabytes())
            if done >= target and (done - target) % block == 0 and not self.is_over:
                self.take_turn()

        def take_turn(self) -> None:
            """Say how long the block took and wait until the next one is wanted."""
            if self.started is not None:
                wall, cpu = time.perf_counter(), time.process_time()
                tell(wall=wall - self.started[0], cpu=cpu - self.started[1])
            else:
                tell(ready=True)
            self.is_over = not sys.stdin.readline()
            self.started = time.perf_counter(), time.process_time()

        @hookimpl
        def should_stop(self, state: Any) -> bool:
            """Once nobody wants another block."""
            return self.is_over

    shape = {"hidden_size": HIDDEN_SIZE, "intermediate_size": 32, "num_hidden_layers": 1}
    write_tiny_model(folder / "model", **shape)
    settings = {
        "train.steps": FAR,
        "train.batch_size": 1,
        "train.micro_batch_size": 1,
        "train.log_every": 10,
        "checkpoint.every": "10000 steps",
        "plugins.telemetry.enabled": "true",
        "plugins.cost.usd_per_gpu_hour": "1.0",
    }
    recipe = tiny_recipe(folder, [f"{key}={value}" for key, value in settings.items()])
    directory = RunDirectory.create(folder / "runs", "run", recipe)
    events = EventWriter(directory.events_path, attempt=1, rank=0)
    plugins = arrange({**make_plugins(recipe.plugins), "pacer": Pacer(PluginConfig())})
    hooks = Hooks(plugins, lambda message: events.write("alert", message=message))
    execute(Run(recipe=recipe, hooks=hooks, directory=directory, events=events), SignalFlags())


def tell(**facts: Any) -> None:
    """One line for the parent."""
    print(json.dumps(facts), flush=True)


def private_megabytes() -> float:
    """Memory of this process that it shares with no other and no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines[1:])
    return sum(int(fields[key].split()[0]) for key in ("Private_Clean", "Private_Dirty")) / 1024


class Child:
    """One of the two runs. A context manager."""

    def __init__(self, script: str, folder: Path, target: int, block: int) -> None:
        folder.mkdir()
        command = [sys.executable, script, "--drift-child", str(folder), str(target), str(block)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A second thread gains nothing at this size, and would wait for the first by spinning.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.samples: list[tuple[int, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate(timeout=120)

    def hear(self) -> dict[str, Any]:
        """The next line that is no sample. Raises `RuntimeError` if the process ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                facts: dict[str, Any] = json.loads(line)
                if "megabytes" not in facts:
                    return facts
                self.samples.append((facts["step"], facts["megabytes"]))
        raise RuntimeError(f"a run ended with {self._process.wait()}")

    def block(self) -> dict[str, Any]:
        """Let it train a block."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self.hear()


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """The median slope of all pairs of points, which outliers do not bend."""
    return statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))


def drift_rows(script: str, young: int, old: int, block: int, rounds: int) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        with Child(script, folder / "old", old, block) as second:
            second.hear()
            took = time.perf_counter() - started
            with Child(script, folder / "young", young, block) as first:
                first.hear()
                blocks = take_turns(first, second, rounds)
        megabytes = (folder / "old/runs/run/events.jsonl").stat().st_size / 1e6
    rows = [(f"{old:,} steps of the long run", f"{took:.0f} s, events of {megabytes:.0f} MB", "")]
    for clock, label in (("cpu", "processor time"), ("wall", "time")):
        ratios = [b[clock] / a[clock] for a, b in blocks]
        step_us = statistics.median(a[clock] for a, _ in blocks) / block * 1e6
        low, _, high = statistics.quantiles(ratios, n=4)
        drift = (statistics.median(ratios) - 1) * 100
        error = 1.25 * (high - low) / 1.35 / len(ratios) ** 0.5 * 100
        measured = f"{drift:+.2f} % +- {error:.2f} (a step is {step_us:.0f} us)"
        rows.append((f"drift of a step's {label}, {young:,} to {old:,}", measured, "1 %"))
    half = [(float(step), size) for step, size in second.samples if step >= old / 2]
    slope = theil_sen(half) * 10_000
    measured = f"{slope:+.2f} MB ({half[0][1]:.0f} MB to {half[-1][1]:.0f} MB)"
    rows.append(("drift of private memory in 10,000 steps, second half", measured, "2 MB"))
    return rows


def take_turns(first: Child, second: Child, rounds: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of blocks, the order within a pair changing; the first pair warms up and is left out."""
    pairs = []
    for number in range(rounds + 1):
        if number % 2 == 0:
            a, b = first.block(), second.block()
        else:
            b, a = second.block(), first.block()
        pairs.append((a, b))
    return pairs[1:]
