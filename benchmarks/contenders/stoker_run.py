"""stoker as a user starts it: `stoker run` of a recipe with packing; numbers come from its events."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomlkit
from workload import HELD_OUT_ROWS, LORA_ALPHA, LORA_RANK, Workload

from stoker.run.events import read_events

NAME = "peer"
PRECISIONS = {"fp32": "fp32", "bf16": "bf16_mixed"}


def recipe_of(workload: Workload) -> dict[str, Any]:
    """The recipe; the options of a workload are keys of `[train]`."""
    data = dict(workload.data)
    if not workload.evaluate_every:
        data.pop("eval", None)
    plugins: dict[str, Any] = {"packing": {}, "telemetry": {}}
    if workload.adapter is not None:
        lora = {"rank": LORA_RANK, "alpha": LORA_ALPHA, "start_from": workload.adapter}
        plugins["lora"] = lora
    train = {
        "steps": workload.steps,
        "batch_size": workload.batch_size,
        "micro_batch_size": workload.micro_batch_size,
        "learning_rate": workload.learning_rate,
        "schedule": "constant",
        "warmup": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "precision": PRECISIONS[workload.precision],
        "log_every": 1,
        **workload.options,
    }
    if workload.evaluate_every:
        train["evaluate_every"] = workload.evaluate_every
    if any(str(source["path"]).startswith("demo:") for source in data["train"]):
        plugins["demo"] = {"max_eval_rows": HELD_OUT_ROWS}
    if workload.model.startswith("demo:"):
        plugins.setdefault("demo", {})
    return {
        "run": {"name": NAME, "seed": workload.seed, "directory": f"{workload.folder}/runs"},
        "model": {"path": workload.model},
        "data": data,
        "train": train,
        "plugins": plugins,
    }


def write_recipe(path: Path, recipe: dict[str, Any]) -> Path:
    """As a file."""
    path.write_text(tomlkit.dumps(recipe))
    return path


def command(workload: Workload) -> list[str]:
    """What starts the run."""
    path = write_recipe(Path(workload.folder) / "recipe.toml", recipe_of(workload))
    return [sys.executable, "-m", "stoker", "run", str(path), "--plain"]


def result(workload: Workload) -> dict[str, Any]:
    """What `Meter.report` prints for the others, from `events.jsonl`."""
    events = list(read_events(Path(workload.folder) / "runs" / NAME / "events.jsonl"))
    steps = [event for event in events if event["kind"] == "step"]
    seconds = [step["step_seconds"] for step in steps]
    graded = [event for event in events if event["kind"] == "evaluate" and event["step"] > 0]
    return {
        "losses": [step["loss"] for step in steps],
        "step_seconds": seconds,
        "began": steps[0]["t"] - seconds[0],
        "ended": steps[-1]["t"],
        "held_out": [(sum(seconds[: event["step"]]), event["eval_loss"]) for event in graded],
        "notes": {},
    }
