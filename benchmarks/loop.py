"""Overhead of the loop: stoker with ten no-op plugins against a bare PyTorch loop.

Same model, same loss function, identical batches in the same order, AdamW with clipping; the bare
loop gets its batches already collated. Runs alternate; the median of their ratios counts.

    python benchmarks/loop.py [--rounds 5] [--steps 60]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from stoker.data.batches import collate_plan, cut_by_length, plan_step
from stoker.dispatch import Hooks
from stoker.plugin import Plugin, PluginConfig
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.testing import Recorder, tiny_recipe, write_tiny_model
from stoker.train import build
from stoker.train.boundary import Boundary
from stoker.train.evaluate import Evaluator
from stoker.train.loop import train
from stoker.train.saving import Saver
from stoker.train.signals import SignalFlags

NUM_PLUGINS = 10


class NoOp(Recorder):
    """Implements every hook and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.timeline = _Nothing()  # type: ignore[assignment]


class _Nothing(list[str]):
    def append(self, name: str) -> None:
        """Forget it."""


def make_run(folder: Path, steps: int, plugins: dict[str, Plugin[Any]]) -> tuple[Run, Any]:
    """A run of a Llama with 4 layers of width 256 on the byte tokenizer, float32."""
    write_tiny_model(folder / "model", hidden_size=256, intermediate_size=688, num_hidden_layers=4)
    recipe = tiny_recipe(
        folder,
        [f"train.steps={steps}", "train.batch_size=8", "train.micro_batch_size=4", "train.log_every=10"],
    )
    directory = RunDirectory.create(folder / "runs", f"run-{len(plugins)}", recipe)
    run = Run(recipe, Hooks(plugins), directory, EventWriter(directory.events_path, 1, 0))
    return run, SignalFlags()


def stoker_tokens_per_second(folder: Path, steps: int) -> float:
    """The loop as it is, plugins and events included; start-up left out."""
    plugins: dict[str, Plugin[Any]] = {f"no_op_{i}": NoOp() for i in range(NUM_PLUGINS)}
    run, signals = make_run(folder, steps, plugins)
    data = build.build_data(run, signals)
    engine = build.build_engine(run)
    boundary = Boundary(run, signals)
    order = build.build_order(run, data)
    state = build.build_state(run, order, build.build_model(run, engine))
    evaluator = Evaluator(state, None, boundary)
    with build.prefetch(state, data.train) as batches:
        started = time.perf_counter()
        train(state, batches, evaluator, Saver(boundary), boundary)
        seconds = time.perf_counter() - started
    return state.tokens / seconds


def bare_tokens_per_second(folder: Path, steps: int) -> float:
    """What one writes by hand: forward, backward, clip, step."""
    run, signals = make_run(folder, steps, {})
    data = build.build_data(run, signals)
    engine = build.build_engine(run)
    order = build.build_order(run, data)
    state = build.build_state(run, order, build.build_model(run, engine))
    model, loss_function = state.model, state.loss
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, fused=True)
    plans = [plan_step(order, data.train, step, cut_by_length(4)) for step in range(1, steps + 1)]
    collated = [collate_plan(plan, data.train) for plan in plans]
    started = time.perf_counter()
    for step in collated:
        for batch in step.batches:
            loss, _ = loss_function(model, batch)
            (loss / step.plan.num_supervised).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - started
    return sum(plan.num_tokens for plan in plans) / seconds


def main() -> None:
    """Print a row for each round and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("STOKER_CACHE", name)
        for number in range(options.rounds + 1):
            folder = Path(name) / f"round-{number}"
            folder.mkdir()
            measured = [f(folder / f.__name__, options.steps) for f in _alternating(number)]
            ours, bare = measured if number % 2 == 0 else reversed(measured)
            if number == 0:
                continue  # warm-up: allocator, thread pools, tokenised rows
            ratios.append(ours / bare)
            print(
                f"round {number}: stoker {ours:7.0f} tokens/s, bare {bare:7.0f}, ratio {ratios[-1]:.3f}"
            )
    print(f"median ratio {statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})")


def _alternating(number: int) -> list[Any]:
    pair = [stoker_tokens_per_second, bare_tokens_per_second]
    return pair if number % 2 == 0 else pair[::-1]


if __name__ == "__main__":
    main()
