"""What a checkpoint costs: how long training stands still, and how fast it is meanwhile.

A Llama of SmolLM2-135M's shape with AdamW's moments in float32, the state of a run. Three ways to save
it alternate: stoker's in the background, stoker's that training waits for, and a plain `torch.save` of
the same tensors to the same disk, which is what one writes by hand. Then the same steps are trained with
and without a checkpoint being written behind them. With `--resume`, also the time from the start of the
process to the first step, of a new run and of one that goes on.

    python benchmarks/checkpoint.py [--rounds 5] [--layers 30] [--resume]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from cells import machine

from stoker.dispatch import Hooks
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter, read_events
from stoker.testing import tiny_recipe, write_tiny_model
from stoker.train import build
from stoker.train.boundary import Boundary
from stoker.train.loop import run_micro_batches
from stoker.train.saving import Saver
from stoker.train.signals import SignalFlags

SETTINGS = [
    "train.steps=1000",
    "train.batch_size=1",
    "train.micro_batch_size=1",
    'checkpoint.every="1000000 steps"',
    "checkpoint.keep=1",
]


def write_model(folder: Path, layers: int) -> None:
    """SmolLM2-135M but for the vocabulary of the byte tokenizer, padded to the real size."""
    write_tiny_model(
        folder / "model",
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
    )


class Training:
    """A run in this process, one step at a time."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        recipe = tiny_recipe(folder, [*SETTINGS, *overrides])
        name = f"run-{len(list(folder.glob('runs/*')))}"
        directory = RunDirectory.create(folder / "runs", name, recipe)
        run = Run(recipe, Hooks(), directory, EventWriter(directory.events_path, 1, 0))
        data = build.build_data(run, SignalFlags())
        engine = build.build_engine(run)
        self.boundary = Boundary(run, SignalFlags())
        order = build.build_order(run, data)
        self.state = build.build_state(run, order, build.build_model(run, engine))
        self.saver = Saver(self.boundary)
        self.steps = build.prefetch(self.state, data.train)
        self.batches = self.steps.__enter__()
        self.saver.begin(self.state)
        for _ in range(2):
            self.step()
        self.save()
        self.wait()

    def step(self) -> float:
        """Train one step; returns its seconds."""
        started = time.perf_counter()
        step = next(self.batches)
        self.state.step = step.plan.step
        run_micro_batches(self.state, step)
        self.state.engine.finish_gradients()
        self.state.engine.clip_gradients(1.0)
        self.state.engine.step(1e-5)
        self.boundary.decide(self.state, now=True)
        self.saver.settle(self.state)
        return time.perf_counter() - started

    def save(self) -> float:
        """Save; returns the seconds for which training stood still."""
        started = time.perf_counter()
        self.saver.save(self.state)
        return time.perf_counter() - started

    def wait(self) -> None:
        """Until nothing is being written any more."""
        self.saver.finish(self.state)

    def torch_save(self, path: Path) -> float:
        """What one writes by hand, synced like ours; returns seconds."""
        started = time.perf_counter()
        state = {"model": self.state.model.state_dict(), "optimizer": self.state.optimizer.state_dict()}
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        return time.perf_counter() - started

    def close(self) -> None:
        """End the thread that makes batches."""
        self.steps.__exit__(None, None, None)


def stalls(folder: Path, rounds: int) -> None:
    """Seconds of standing still per save, and what training does meanwhile."""
    behind, waiting = Training(folder), Training(folder, "checkpoint.asynchronous=false")
    size = behind.saver._full_bytes
    print(f"state of a checkpoint: {size / 1e9:.2f} GB")
    measured: dict[str, list[float]] = {"background": [], "waiting": [], "torch.save": []}
    quiet: list[float] = []
    busy: list[float] = []
    commits: list[float] = []
    for number in range(rounds + 1):
        found: dict[str, float] = {}
        ways: list[tuple[str, Callable[[], float]]] = [
            ("background", lambda: _save_in_background(behind, busy, commits)),
            ("waiting", lambda: _after_a_step(waiting, waiting.save)),
            ("torch.save", lambda: behind.torch_save(folder / "by-hand.pt")),
        ]
        for name, way in ways if number % 2 == 0 else ways[::-1]:
            found[name] = way()
            os.sync()
        quiet += [behind.step() for _ in range(3)]
        if number == 0:  # warm-up
            busy.clear()
            quiet.clear()
            commits.clear()
            continue
        for name, seconds in found.items():
            measured[name].append(seconds)
        shown = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in found.items())
        print(f"round {number}: {shown}")
    by_hand = statistics.median(measured["torch.save"])
    for name, values in measured.items():
        median = statistics.median(values)
        print(f"{name:12s} median {median:7.3f} s, {median / by_hand:.3f} x")
    ratio, durable = statistics.median(quiet) / statistics.median(busy), statistics.median(commits)
    print(f"durable after {durable:.2f} s; tokens/s meanwhile {ratio:.2f} x of before")
    behind.close()
    waiting.close()


def _after_a_step(training: Training, action: Callable[[], float]) -> float:
    training.step()
    return action()


def _save_in_background(training: Training, busy: list[float], commits: list[float]) -> float:
    """Save behind a step and train until it is durable."""
    training.step()
    stall = training.save()
    write = training.saver._write
    assert write is not None
    while not write.is_over:
        seconds = training.step()
        if not write.is_over:
            busy.append(seconds)
    training.wait()
    commits.append(training.saver.commit_seconds or 0.0)
    return stall


def starts(folder: Path, rounds: int) -> None:
    """Seconds from the start of `stoker run` to the first step, of a new run and of a resumed one."""
    ratios = []
    for number in range(rounds):
        fresh = _first_step(folder, number, "train.steps=2")
        again = _first_step(folder, number, "train.steps=4", resumes=True)
        ratios.append(again / fresh)
        print(f"round {number + 1}: new {fresh:5.2f} s, resumed {again:5.2f} s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")


def _first_step(folder: Path, number: int, steps: str, *, resumes: bool = False) -> float:
    name = f"start-{number}"
    command = [sys.executable, "-m", "stoker"]
    if resumes:
        command += ["resume", name, "--set", steps, "--allow-change", "train.steps"]
    else:
        command += ["run", "tiny.toml", "--set", f"run.name={name}", "--set", steps]
    started = time.time()
    subprocess.run([*command, "--plain"], cwd=folder, check=True, capture_output=True)
    events = read_events(folder / "runs" / name / "events.jsonl")
    steps_at = [event["t"] for event in events if event["kind"] == "step"]
    return next(seconds for moment in steps_at if (seconds := moment - started) > 0)


def main() -> None:
    """Print a row for each round, and medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--resume", action="store_true", help="measure start-up too")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["STOKER_CACHE"] = str(folder / "cache")
        write_model(folder, options.layers)
        stalls(folder, options.rounds)
        if options.resume:
            tiny_recipe(folder, SETTINGS)
            starts(folder, options.rounds)


if __name__ == "__main__":
    main()
