"""Model, rows and adapter, made once: everyone trains the same rows in the same order from one state.

Rows are what stoker's own preparation makes of the data, in the order that its recipe gives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_run import recipe_of, write_recipe
from workload import HELD_OUT_ROWS, IGNORED, LORA_ALPHA, LORA_RANK, Workload

from stoker.data.order import KeyedOrder
from stoker.data.store import TokenIndex
from stoker.recipe.loading import load_recipe
from stoker.run.directory import RunDirectory
from stoker.testing import write_tiny_model
from stoker.train.build import run_outside_training, tokenise_data
from stoker.train.signals import SignalFlags

SMOLLM2 = "demo:smollm2-135m"
DEMO_DATA = {
    "train": [{"path": "demo:alpaca"}],
    "eval": [{"path": "demo:alpaca", "split": "eval"}],
}


@dataclass(frozen=True)
class Prepared:
    """What all rounds share."""

    folder: Path
    model: Path
    adapter: Path
    train: TokenIndex
    data: dict[str, Any]
    """Table `[data]` of the recipe."""

    def write_rows(self, seed: int, batch_size: int, steps: int) -> Path:
        """The rows of a run with this seed, in the order in which its steps take them."""
        order = KeyedOrder([len(self.train.lengths)], batch_size, seed)
        numbers = [row for step in range(1, steps + 1) for row in order.rows(step)]
        path = self.folder / f"rows-{seed}-{batch_size}-{steps}.jsonl"
        _write_rows(path, self.train, numbers)
        return path


def prepare(folder: Path, data: Path, sequence_length: int, *, tiny: bool) -> Prepared:
    """Everything that contenders read, in `folder`. `data`: rows in Alpaca's columns; the demo's are
    taken where there is no such file."""
    model = _tiny_model(folder / "model") if tiny else SMOLLM2
    table = {**_split(folder, data), "sequence_length": sequence_length}
    workload = Workload(
        model=str(model),
        rows="",
        held_out="",
        adapter=None,
        precision="fp32",
        steps=1,
        batch_size=1,
        micro_batch_size=1,
        sequence_length=sequence_length,
        learning_rate=1e-3,
        seed=0,
        folder=str(folder),
        evaluate_every=1,
        data=table,
    )
    recipe = load_recipe(write_recipe(folder / "preparing.toml", recipe_of(workload)))
    run = run_outside_training(recipe, RunDirectory.create(folder / "runs", "preparing", recipe))
    prepared = tokenise_data(run, SignalFlags())
    assert prepared.evaluation is not None
    _write_rows(folder / "held_out.jsonl", prepared.evaluation, range(len(prepared.evaluation.lengths)))
    assert run.model_directory is not None
    adapter = _write_adapter(run.model_directory, folder / "adapter")
    return Prepared(folder, run.model_directory, adapter, prepared.train, table)


def _split(folder: Path, data: Path) -> dict[str, Any]:
    """The sources: a file's last rows are held out."""
    if not data.is_file():
        return DEMO_DATA
    rows = json.loads(data.read_text())
    parts = {"train": rows[:-HELD_OUT_ROWS], "eval": rows[-HELD_OUT_ROWS:]}
    for name, part in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(part))
    return {name: [{"path": str(folder / f"{name}.json"), "format": "alpaca"}] for name in parts}


def _write_rows(path: Path, index: TokenIndex, numbers: Iterable[int]) -> None:
    lines = []
    for number in numbers:
        ids, supervised = index.row(number)
        pairs = zip(ids.tolist(), supervised.tolist(), strict=True)
        labels = [token if carries_loss else IGNORED for token, carries_loss in pairs]
        lines.append(json.dumps({"input_ids": ids.tolist(), "labels": labels}) + "\n")
    path.write_text("".join(lines))


def _tiny_model(directory: Path) -> Path:
    """A Llama with two layers of width 32, with weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    write_tiny_model(directory, max_position_embeddings=1024)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory)).save_pretrained(directory)
    return directory


def _write_adapter(model_directory: Path, directory: Path) -> Path:
    """The adapter that every LoRA run begins with."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=LORA_RANK,
        lora_alpha=LORA_ALPHA,
        target_modules="all-linear",
        task_type=peft.TaskType.CAUSAL_LM,
    )
    model = AutoModelForCausalLM.from_pretrained(model_directory, dtype=torch.float32)
    peft.get_peft_model(model, config).save_pretrained(directory)
    return directory
