"""What looking on costs: a run's steps with plugins telemetry and cost, against the same without.

Runs alternate, and each pair of neighbours gives a ratio of median step times; the median of ratios
counts, and how far they lie apart says what it is worth on this machine. That noise is larger than what
is looked for, so the work itself is measured, too: processor seconds of the sampling thread in a process
that does nothing else, and what the hooks take for one step.

    python benchmarks/telemetry.py [--rounds 7] [--steps 60]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cells import machine

from stoker import Plugin, PluginConfig, hookimpl
from stoker.run.arithmetic import DATA_SHEET
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.ledger import Tariff, read_ledger
from stoker.run.meter import Meter
from stoker.testing import tiny_fit, write_tiny_model
from stoker.train.work import Work
from stoker_plugins.cost import CostConfig
from stoker_plugins.cost.account import Account
from stoker_plugins.cost.budget import Budget
from stoker_plugins.telemetry.pace import Pace
from stoker_plugins.telemetry.sampler import Sampler

PLUGINS: dict[str, dict[str, Any]] = {
    "telemetry": {},
    "cost": {"usd_per_gpu_hour": 2.0, "budget_usd": 99.0},
}
INTERVAL_SECONDS = 2.0
WARM_UP_STEPS = 5
REPEATS = 1000


class Timer(Plugin[PluginConfig]):
    """Notes the process's processor time at the beginning of each step."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.seconds: list[float] = []

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        self.seconds.append(time.process_time())


def step_seconds(folder: Path, plugins: dict[str, Any], steps: int) -> tuple[float, float]:
    """Of a Llama with 4 layers of width 256 in float32: median by the clock, mean of the processor."""
    if not (folder / "model").exists():
        write_tiny_model(folder / "model", hidden_size=256, intermediate_size=688, num_hidden_layers=4)
    settings = [f"train.steps={steps}", "train.batch_size=8", "train.micro_batch_size=4"]
    timer = Timer()
    fit = tiny_fit(folder, {"timer": timer, **plugins}, settings)
    clock = statistics.median(event["step_seconds"] for event in fit.of_kind("step")[WARM_UP_STEPS:])
    spent = timer.seconds[WARM_UP_STEPS:]
    return clock, (spent[-1] - spent[0]) / (len(spent) - 1)


def sampling_share(folder: Path, seconds: float) -> float:
    """Processor time of the thread, as a share of one core, at the default interval."""
    sampler = Sampler(EventWriter(folder / "host.jsonl", 1, 0), folder, INTERVAL_SECONDS)
    started = time.process_time()
    sampler.start()
    time.sleep(seconds)
    sampler.stop()
    return (time.process_time() - started) / seconds


def hook_seconds(folder: Path) -> float:
    """What the hooks of both plugins take for a step that is a log point, on the training thread."""
    work = Work(6e9, 7e9, "H100", 1e15, DATA_SHEET)
    pace = Pace(EventWriter(folder / "rank.jsonl", 1, 0), 1e9, work=work)
    row = {"step": 1, "step_seconds": 0.1, "tokens_per_second": 1e4, "wait_seconds": 0.0}
    tariff = Tariff(usd_per_gpu_hour=2.0, source="benchmark")
    Meter(RunDirectory(folder), tariff, attempt=1, gpus=1).start().stop()
    ledger = read_ledger(folder / "ledger.jsonl")
    config = CostConfig(usd_per_gpu_hour=2.0, budget_usd=99.0)
    run = SimpleNamespace(step=1, recipe=SimpleNamespace(train=SimpleNamespace(log_every=1)))
    budget = Budget(config, Account(ledger, None), run)  # type: ignore[arg-type]
    started = time.perf_counter()
    for _ in range(REPEATS):
        budget.step_begins()
        budget.step_ends()
        pace.note([row])
        budget.note_step(row["step_seconds"])
        budget.look()
    return (time.perf_counter() - started) / REPEATS


def main() -> None:
    """Print ratios and shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pairs = []
        for number in range(options.rounds):
            # Which comes first alternates, too: a machine slows down and speeds up by itself.
            order = ({}, PLUGINS) if number % 2 else (PLUGINS, {})
            seconds = {len(each): step_seconds(folder, each, options.steps) for each in order}
            pairs.append((seconds[0], seconds[len(PLUGINS)]))
        step = statistics.median(without[0] for without, _ in pairs)
        print(f"step without: {step * 1e3:.1f} ms by the clock; {len(pairs)} pairs")
        for index, name in enumerate(("clock", "processor")):
            ratios = [with_[index] / without[index] for without, with_ in pairs]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"with / without by the {name}: median {statistics.median(ratios):.4f}, {spread}")
        share, hooks = sampling_share(folder, 10 * INTERVAL_SECONDS), hook_seconds(folder)
        print(f"sampling thread: {share:.3%} of one core, every {INTERVAL_SECONDS:g} s")
        print(f"hooks: {hooks * 1e6:.1f} us a step, {hooks / step:.3%} of it")


if __name__ == "__main__":
    main()
