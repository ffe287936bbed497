"""One GPU: full, LoRA and QLoRA with and without checkpointing, kinds of attention, engines, numerics.

python benchmarks/gpu.py [--tiny] [--minutes 8]

Prints tables in Markdown: how far the first losses of each cell are from a float32 reference on the CPU,
then tokens/s, model FLOPs utilisation and peaks of memory. Cells are tried in order until the time is
used up; those that were not reached are named. On a machine without a GPU it says so and exits with 5,
unless --tiny asks for a tiny model, which only shows that the script works. What is asked of a GPU, and
Hugging Face's Trainer beside it, is in `gpu_asked.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cells import Bench, Shape, machine

from stoker.equivalence.compare import largest_difference
from stoker.run.trials import Trial, TrialRanks

# Half a billion parameters: with AdamW in float32, 8 GB.
LARGE = Shape(1536, 4096, 14, 12, 32000, 2048, 4, 4, 8)
# Small enough for a reference on the CPU, wide enough for every kernel.
SMALL = Shape(256, 688, 4, 4, 2048, 256, 2, 4, 4)
TINY = replace(SMALL, sequence_length=64, steps=3)

METHODS: tuple[Mapping[str, str], ...] = (
    {"method": "full"},
    {"method": "lora"},
    {"method": "lora", "quantization": "nf4"},
)
MEMORY: tuple[Mapping[str, str], ...] = ({}, {"checkpointing": "full"}, {"checkpointing": "selective"})
FURTHER: tuple[Mapping[str, str], ...] = (
    {"attention": "eager"},
    {"attention": "flex"},
    {"attention": "flash_attention_2"},
    {"attention": "auto", "packing": "packed"},
    {"kernels": "liger"},
    {"checkpointing": "offload"},
    {"checkpointing": "every_n"},
    {"precision": "bf16"},
    {"precision": "bf16_fp32_states"},
    {"precision": "fp16_mixed"},
    {"optimizer": "adamw_8bit"},
    {"optimizer": "paged_adamw_8bit"},
    {"engine": "fsdp-full_shard"},
    {"engine": "fsdp-full_shard", "checkpointing": "full"},
    {"engine": "fsdp-full_shard", "offload": "cpu"},
    {"engine": "zero-2"},
    {"engine": "zero-3"},
    {"engine": "zero-3", "offload": "cpu"},
)


def main() -> int:
    """Run cells until the time is used up."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny model, also on a CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for everything")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.tiny):
        print("gpu.py needs a CUDA device; --tiny tries the script out on a CPU.", file=sys.stderr)
        return 5
    deadline = time.monotonic() + options.minutes * 60
    print(f"Machine: {machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        os.environ["STOKER_CACHE"] = str(Path(name) / "cache")
        cells = [{**method, **memory} for method in METHODS for memory in MEMORY] + [*FURTHER]
        small = TINY if options.tiny else SMALL
        print_numerics(Bench(Path(name) / "small", small), cells, deadline)
        shape = TINY if options.tiny else LARGE
        print_speed(Bench(Path(name) / "large", shape), cells, deadline)
    return 0


def _name(values: Mapping[str, str]) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in values.items())


def _offered(bench: Bench, cells: list[dict[str, str]]) -> list[dict[str, str]]:
    """The cells that nothing refuses."""
    return [values for values in cells if bench.matrix.cell(values).verdict != "refused"]


def print_numerics(bench: Bench, cells: list[dict[str, str]], deadline: float) -> None:
    """Largest relative difference of losses and norms from float32 on the CPU, per cell."""
    print(f"\n### A Llama of {bench.shape.num_parameters / 1e6:.0f} M against float32 on the CPU\n")
    print("| cell | loss | gradient norm |")
    print("|---|---|---|")
    references: dict[str, Trial] = {}
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with (
        TrialRanks(1, bench.folder / "cpu", hidden) as host,
        TrialRanks(1, bench.folder / "device") as device,
    ):
        for values in _offered(bench, cells):
            if time.monotonic() > deadline - 240:
                print(f"| {_name(values)} | not reached | |")
                continue
            method = {key: values[key] for key in ("method", "quantization") if key in values}
            key = _name(method)
            if key not in references:
                references[key] = bench.run(host, {**method, "precision": "fp32"})
            trial = bench.run(device, values)
            print(f"| {_name(values)} | {_differences(trial, references[key])} |", flush=True)


def _differences(trial: Trial, reference: Trial) -> str:
    if reference.problem:
        return f"{trial.problem or 'ran'} | no reference: {reference.problem}"
    if trial.problem:
        return f"{trial.problem} |"
    numbers = [
        largest_difference(trial.values(key), reference.values(key)) for key in ("loss", "grad_norm")
    ]
    return " | ".join(f"{number:.1e}" for number in numbers)


def print_speed(bench: Bench, cells: list[dict[str, str]], deadline: float) -> None:
    """Tokens/s, utilisation, peaks."""
    length = bench.shape.sequence_length
    print(f"\n### A Llama of {bench.shape.num_parameters / 1e6:.0f} M, {length} tokens a row\n")
    print("| cell | tokens/s | MFU | allocated peak | reserved peak |")
    print("|---|---|---|---|---|")
    with TrialRanks(1, bench.folder / "device") as ranks:
        for values in _offered(bench, cells):
            if time.monotonic() > deadline - 15:
                print(f"| {_name(values)} | not reached | | | |")
                continue
            print(f"| {_name(values)} | {_speed(bench, bench.run(ranks, values))} |", flush=True)


def _speed(bench: Bench, trial: Trial) -> str:
    if trial.problem:
        return f"{trial.problem} | | |"
    tokens = bench.tokens_per_second(trial)
    utilisation = bench.utilisation(tokens, machine())
    memory: dict[str, Any] = trial.events("memory")[0]
    peaks = [memory.get(key) for key in ("allocated_peak", "reserved_peak")]
    cells = [
        f"{tokens:,.0f}",
        "-" if utilisation is None else f"{utilisation:.1%}",
        *("-" if peak is None else f"{peak / 1e9:.2f} GB" for peak in peaks),
    ]
    return " | ".join(cells)


if __name__ == "__main__":
    sys.exit(main())
