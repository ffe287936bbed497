"""How near the plan's time comes to throughput that others published.

python benchmarks/plan_time.py [--fit] [--rows]

Scores the constants of `core/stoker/plan/attained.toml` on the runs of `published_throughput.toml` that
they were not fitted to, beside two baselines: one constant MFU for each type of GPU, by the definition
of the source and fitted to the same rows, and a flat 35 %. `--fit` fits the constants again and prints
them; `--rows` prints the rows that are furthest off. Needs no torch.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import tomli

from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.attained import Attained, attained
from stoker.plan.facts import Adapter, Checkpointing, Facts, Quantized, Sharding
from stoker.plan.gpus import find_gpu
from stoker.plan.models import find_model_config
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.time import Load, estimate_time

PUBLISHED = Path(__file__).with_name("published_throughput.toml")
MPT_VOCABULARY = 50368
GPUS_PER_NODE = 8
FAMILIES = {"a100-80gb": "a100", "a100-40gb": "a100", "h100-80gb": "h100"}
"""Types that share constants in the fit: the same chip with other memory."""
START = {"a100": (0.9, 0.4), "h100": (0.8, 0.3)}
SHARED_START = (4.0, 0.5)
LARGEST_COUNTED = 0.3
"""In the fit an error counts for no more than this, so that a slip in a table does not bend the rest."""


@dataclass(frozen=True)
class Run:
    """One published row."""

    source: str
    gpu: str
    model: str
    situation: Situation
    facts: Facts
    tokens: float
    is_fitted: bool
    attention: float | None
    """What its kernels attain, where it is not what today's do."""

    def tokens_per_second(self, constants: Attained | None = None) -> float:
        """Predicted, for one GPU."""
        found = constants or attained(self.gpu)
        if self.attention and not constants:
            found = replace(found, attention=self.attention)
        estimate = estimate_time(self.situation, self.facts, Load(steps=1), constants=found)
        return estimate.tokens_per_second.mid / self.situation.ranks

    def error(self, constants: Attained | None = None) -> float:
        """Predicted over published, less 1."""
        return self.tokens_per_second(constants) / self.tokens - 1


def read_runs() -> list[Run]:
    """All rows, in the order of the file."""
    table = tomli.loads(PUBLISHED.read_text("utf-8"))
    return [_run(row, table) for row in table["runs"]]


def _run(row: Mapping[str, Any], table: Mapping[str, Any]) -> Run:
    gpu = find_gpu(row["gpu"])
    if "peak_tflops" in row:
        gpu = replace(
            gpu, bf16_flops=row["peak_tflops"] * 1e12, memory_bandwidth=row["memory_gbs"] * 1e9
        )
    shape = tuple(table["mpt"].get(row["model"], ()))
    tokens = row["rows"] * row["sequence"]
    # Behind a mask every pair is computed: as many as in a causal document that is twice as long.
    document = row["sequence"] * (2 if row.get("packed") else 1)
    situation = Situation(
        architecture=_architecture(row["model"], row["sequence"], shape),
        precision="bf16_mixed" if row["gpus"] > 1 else "bf16",
        micro_batch=MicroBatch(row["rows"], row["sequence"], tokens, document),
        gpu=gpu,
        ranks=row["gpus"],
        nodes=max(1, row["gpus"] // GPUS_PER_NODE),
        accumulation=row["accumulation"],
    )
    source = table["sources"][row["source"]]
    return Run(
        source=row["source"],
        gpu=row["gpu"],
        model=row["model"],
        situation=situation,
        facts=_facts(row),
        tokens=row["tokens"],
        is_fitted=row["model"] in source["fit"],
        attention=source.get("attention", {}).get(FAMILIES.get(row["gpu"], "")),
    )


@cache
def _architecture(model: str, sequence: int, mpt: tuple[int, ...]) -> Architecture:
    if not mpt:
        return read_architecture(find_model_config(model))
    width, layers, heads = mpt  # MPT has GPT-2's tensors, but for a few biases
    sizes = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": sequence}
    return read_architecture({"model_type": "gpt2", "vocab_size": MPT_VOCABULARY, **sizes})


def _facts(row: Mapping[str, Any]) -> Facts:
    ranks = row["gpus"]
    sharding = Sharding(
        weights_over=ranks,
        gradients_over=ranks,
        states_over=ranks,
        gradient_bytes=2,
        gathers="twice" if ranks > 1 else "never",
        reduces_each_micro_batch=True,
    )
    every = 2 if row.get("half_recomputed") else 1
    recomputes = row.get("checkpointing") or row.get("half_recomputed")
    method = row.get("method", "full")
    return Facts(
        sharding=sharding,
        adapter=Adapter(rank=8) if method != "full" else None,
        quantized=Quantized(0.5625, 64) if method == "qlora" else None,
        checkpointing=Checkpointing("full" if recomputes else "none", every),
        attention="flash_attention_2",
        compiled="block" if row.get("compiled") else "no",
    )


def fit(runs: Sequence[Run]) -> dict[str, Attained]:
    """Constants that make the mean absolute error of the logarithm least; runs of two chips together."""
    names = sorted(START)

    def constants(values: Sequence[float]) -> dict[str, Attained]:
        moves, exposed = values[:2]
        return {
            name: Attained(values[2 + 2 * n], values[3 + 2 * n], moves, exposed, 0.0)
            for n, name in enumerate(names)
        }

    def loss(values: Sequence[float]) -> float:
        if min(values) <= 0 or values[1] > 1:
            return math.inf
        by_name = constants(values)
        errors = [abs(math.log1p(run.error(by_name[FAMILIES[run.gpu]]))) for run in runs]
        return statistics.fmean(min(error, LARGEST_COUNTED) for error in errors)

    start = [*SHARED_START, *(value for name in names for value in START[name])]
    return constants(minimise(loss, start))


def minimise(loss: Callable[[Sequence[float]], float], start: Sequence[float]) -> list[float]:
    """Pattern search: one value at a time by a factor, which shrinks where nothing gets better."""
    values, best, step = list(start), loss(start), 0.3
    while step > 1e-3:
        has_improved = False
        for place in range(len(values)):
            for factor in (1 + step, 1 / (1 + step)):
                tried = [*values[:place], values[place] * factor, *values[place + 1 :]]
                if (found := loss(tried)) < best:
                    values, best, has_improved = tried, found, True
        if not has_improved:
            step /= 2
    return values


def constant_mfu(fitted: Iterable[Run]) -> Callable[[Run], float]:
    """The baseline: the median MFU of a type of GPU, with and without checkpointing."""
    seen: dict[tuple[str, str], list[float]] = {}
    for run in fitted:
        seen.setdefault((run.gpu, run.facts.checkpointing.mode), []).append(_mfu(run))
    medians = {key: statistics.median(values) for key, values in seen.items()}
    return lambda run: medians[run.gpu, run.facts.checkpointing.mode] / _mfu(run) - 1


def _mfu(run: Run) -> float:
    """By llm-foundry's definition: 6 for a parameter, and attention as if it were not causal."""
    architecture = run.situation.architecture
    attention = (
        12 * architecture.num_layers * architecture.hidden_size * run.situation.micro_batch.positions
    )
    flops = 6 * architecture.num_parameters + attention
    return flops * run.tokens / run.situation.gpu.bf16_flops


def summary(name: str, errors: Sequence[float]) -> str:
    """A row of the table."""
    sizes = sorted(abs(error) for error in errors)
    ninetieth = sizes[math.ceil(0.9 * len(sizes)) - 1]
    median, bias = statistics.median(sizes), statistics.median(errors)
    return f"| {name} | {len(sizes)} | {median:.1%} | {ninetieth:.1%} | {sizes[-1]:.0%} | {bias:+.1%} |"


def main() -> None:
    """Print the scores, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the constants again and print them")
    parser.add_argument("--rows", action="store_true", help="print the rows that are furthest off")
    options = parser.parse_args()
    runs = read_runs()
    fitted = [run for run in runs if run.is_fitted]
    fitted_sources = {run.source for run in fitted}
    scored = [run for run in runs if not run.is_fitted and run.source in fitted_sources]
    if options.fit:
        for name, found in fit(fitted).items():
            print(name, {key: round(value, 3) for key, value in vars(found).items() if key != "source"})
        return
    print("| runs | n | median | p90 | worst | bias |\n|---|---|---|---|---|---|")
    print(summary("fitted", [run.error() for run in fitted]))
    print(summary("**kept aside: other sizes**", [run.error() for run in scored]))
    for gpu in sorted(FAMILIES):
        print(summary(f"kept aside, {gpu}", [run.error() for run in scored if run.gpu == gpu]))
    baseline = constant_mfu(fitted)
    print(summary("baseline: constant MFU", [baseline(run) for run in scored]))
    print(summary("baseline: 35 %", [0.35 / _mfu(run) - 1 for run in scored]))
    for source in dict.fromkeys(run.source for run in runs if run.source not in fitted_sources):
        print(summary(f"other trainer: {source}", [run.error() for run in runs if run.source == source]))
    if options.rows:
        for run in sorted(runs, key=lambda each: -abs(each.error()))[:30]:
            batch = run.situation.micro_batch
            shape = f"{run.model} {batch.rows}x{batch.positions} on {run.situation.ranks} {run.gpu}"
            print(
                f"{run.source}, {shape}: "
                f"{run.tokens_per_second():.0f} for {run.tokens:.0f} ({run.error():+.0%})"
            )


if __name__ == "__main__":
    main()
