"""What the guide says that techniques cost and gain, measured as ratios of speed on this machine.

python benchmarks/claims.py [--rounds 5]

Each round trains every variant for a few steps, one after the other in the same process; a ratio is that
of two variants in one round, and the table has the median over the rounds with the extremes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from cells import Bench, Shape, machine

from stoker.run.trials import TrialRanks

SHAPE = Shape(384, 1024, 6, 6, 4096, 512, 1, 2, 6)
BASE = {"precision": "fp32", "attention": "sdpa"}
VARIANTS: dict[str, dict[str, str]] = {
    "full": BASE,
    "checkpointing full": {**BASE, "checkpointing": "full"},
    "checkpointing selective": {**BASE, "checkpointing": "selective"},
    "checkpointing offload": {**BASE, "checkpointing": "offload"},
    "lora": {**BASE, "method": "lora"},
    "attention eager": {**BASE, "attention": "eager"},
    "zero-2": {"precision": "fp32", "engine": "zero-2"},
    "zero-2, offload cpu": {"precision": "fp32", "engine": "zero-2", "offload": "cpu"},
    "zero-3": {"precision": "fp32", "engine": "zero-3"},
    "zero-3, offload nvme": {"precision": "fp32", "engine": "zero-3", "offload": "nvme"},
}
CLAIMS = (
    ("checkpointing costs about 30 % more compute", "full", "checkpointing full"),
    ("the same, selective", "full", "checkpointing selective"),
    ("the same, offload", "full", "checkpointing offload"),
    ("LoRA is 2 to 5 times faster", "lora", "full"),
    (
        "FlashAttention is 20 to 40 % faster (here: torch's SDPA against eager)",
        "full",
        "attention eager",
    ),
    ("offload to the CPU is 3 to 10 times slower", "zero-2", "zero-2, offload cpu"),
    ("the same, to NVMe", "zero-3", "zero-3, offload nvme"),
)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"Machine: {machine()}")
    speeds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as name:
        os.environ["STOKER_CACHE"] = str(Path(name) / "cache")
        bench = Bench(Path(name), SHAPE)
        print(
            f"A Llama with {SHAPE.num_parameters:,} parameters, {SHAPE.sequence_length} tokens a row\n"
        )
        with TrialRanks(1, bench.folder / "ranks") as ranks:
            for _ in range(options.rounds):
                for variant, values in VARIANTS.items():
                    trial = bench.run(ranks, values)
                    assert not trial.problem, f"{variant}: {trial.problem}"
                    speeds[variant].append(bench.tokens_per_second(trial))
    print("| the guide | faster / slower | median | lowest | highest |")
    print("|---|---|---|---|---|")
    for claim, faster, slower in CLAIMS:
        ratios = [a / b for a, b in zip(speeds[faster], speeds[slower], strict=True)]
        cells = [f"{value:.2f}" for value in (statistics.median(ratios), min(ratios), max(ratios))]
        print(f"| {claim} | {faster} / {slower} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
