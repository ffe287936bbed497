"""Bytes that each rank holds under every engine, and bytes that a forward keeps for its backward.

python benchmarks/memory.py [--ranks 1 2 4]

First part: real runs on gloo ranks (NCCL where there are GPUs); the plugin `memory` counts the tensors
that are alive in the middle of a step. An engine should divide what it shards by the number of ranks.
Second part: one process, every kind of activation checkpointing and of attention, counted from the
allocations of a forward that are alive at its end.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cells import Bench, Shape, machine

from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.run.trials import Trial, TrialRanks
from stoker.testing import tiny_fit, write_tiny_model
from stoker.testing.kept import KeptForBackward

# Wide enough that what ZeRO-3 leaves whole, below 100,000 elements, is next to nothing.
SHAPE = Shape(512, 1376, 4, 8, 4096, 64, 1, 4, 3)
# Of weights, gradients and states (with master weights): what each engine divides by the ranks.
DIVIDES = {
    "default": (False, False, False),
    "fsdp-no_shard": (False, False, False),
    "zero-1": (False, False, True),
    "zero-2": (False, True, True),
    "zero-3": (True, True, True),
    "fsdp-full_shard": (True, True, True),
    "fsdp-shard_grad_op": (True, True, True),
}
COMPONENTS = ("weights", "gradients", "states")


def main() -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16_mixed"])
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"Machine: {machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        os.environ["STOKER_CACHE"] = str(Path(name) / "cache")
        bench = Bench(Path(name), SHAPE)
        print(f"A Llama with {SHAPE.num_parameters:,} parameters.")
        for precision in options.precisions:
            print(f"\n### {precision}: bytes per rank and parameter\n")
            print_partitioning(bench, precision, options.ranks)
        print("\n### Kept for the backward of one micro-batch\n")
        print_kept(Path(name) / "kept")


def print_partitioning(bench: Bench, precision: str, counts: list[int]) -> None:
    """One line for each engine and number of ranks."""
    print("| engine | ranks | weights | gradients | master + states | buffers, MB | above its share |")
    print("|---|---|---|---|---|---|---|")
    one: dict[str, Any] = {}
    for nproc in counts:
        with TrialRanks(nproc, bench.folder / f"{precision}-{nproc}") as ranks:
            for engine in DIVIDES:
                trial = bench.run(ranks, {"engine": engine, "precision": precision})
                if trial.problem:
                    print(f"| {engine} | {nproc} | {trial.problem} | | | | |", flush=True)
                    continue
                held = largest_rank(trial)
                whole = one.setdefault(engine, held) if nproc == 1 else one.get(engine)
                print(line(engine, nproc, held, whole), flush=True)


def largest_rank(trial: Trial) -> dict[str, float]:
    """Bytes per parameter by component, of the rank that holds most."""
    events = trial.events("memory")
    return {
        "weights": max(event["weights"] for event in events),
        "gradients": max(event["gradients"] for event in events),
        "states": max(event["master_weights"] + event["optimizer"] for event in events),
        "buffers": max(event["buffers"] for event in events),
    }


def line(engine: str, nproc: int, held: Mapping[str, float], whole: Mapping[str, float] | None) -> str:
    """Bytes per parameter, and how far the worst is above the share of what one rank holds alone."""
    count = SHAPE.num_parameters
    cells = [f"{held[component] / count:.3f}" for component in COMPONENTS]
    cells.append(f"{held['buffers'] / 1e6:.0f}")
    deviation = "-"
    if whole is not None:
        shares = [
            (component, whole[component] / (nproc if divided else 1))
            for component, divided in zip(COMPONENTS, DIVIDES[engine], strict=True)
        ]
        worst = max((held[component] - share) / share for component, share in shares if share)
        deviation = f"{max(0.0, worst):.1%}"
    return f"| {engine} | {nproc} | {' | '.join(cells)} | {deviation} |"


class Measures(Plugin[PluginConfig]):
    """Counts what the first training forward keeps."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.kept = 0

    @hookimpl
    def on_train_start(self, state: Any) -> None:
        loss = state.loss

        def counted(model: Any, batch: Any) -> Any:
            if self.kept or not model.training:
                return loss(model, batch)
            with KeptForBackward() as kept:
                total = loss(model, batch)
            self.kept = kept.num_bytes()
            return total

        state.loss = counted


def variants() -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Plugin tables by what they are called in the table."""
    for attention in ("sdpa", "eager"):
        tables: dict[str, dict[str, Any]] = {"flash_attention": {"implementation": attention}}
        yield f"attention {attention}, padded", tables
        yield f"attention {attention}, packed", {**tables, "packing": {}}
    sdpa: dict[str, dict[str, Any]] = {"flash_attention": {"implementation": "sdpa"}}
    for name, options in (
        ("full", {}),
        ("every 2nd block", {"every": 2}),
        ("selective", {"mode": "selective"}),
        ("offload", {"mode": "offload"}),
    ):
        yield f"checkpointing {name}", {**sdpa, "activation_checkpointing": options}


def print_kept(folder: Path) -> None:
    """One line for each variant and sequence length: a 12-layer Llama of width 128, two rows."""
    print("| variant | 256 tokens | share | 1024 tokens | share |")
    print("|---|---|---|---|---|")
    first: dict[int, int] = {}
    for name, tables in variants():
        cells = []
        for length in (256, 1024):
            kept = kept_bytes(folder / str(length), length, tables)
            share = kept / first.setdefault(length, kept)
            cells.append(f"{kept / 1e6:.1f} MB | {share:.0%}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def kept_bytes(folder: Path, length: int, tables: dict[str, dict[str, Any]]) -> int:
    """Bytes on the device that the first forward of a run keeps."""
    if not (folder / "model").exists():
        sizes = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 12}
        write_tiny_model(folder / "model", max_position_embeddings=2048, **sizes)
        text = "".join(chr(97 + number % 26) for number in range(length + 8))
        (folder / "rows.jsonl").write_text(f'{{"text": "{text}"}}\n' * 4)
    measures = Measures()
    rows = f'data.train=[{{path="{folder}/rows.jsonl", format="text"}}]'
    settings = [
        rows,
        "data.eval=[]",
        f"data.sequence_length={length}",
        "train.steps=1",
        "train.batch_size=2",
    ]
    tiny_fit(folder, {"measures": measures, **tables}, [*settings, "data.supervise=all"])
    return measures.kept


if __name__ == "__main__":
    main()
