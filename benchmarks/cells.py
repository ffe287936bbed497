"""What the benchmarks of memory and GPUs share: a model, its data, cells of the matrix as trials."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from stoker.cli.matrix import load_all
from stoker.matrix import Matrix, with_folder
from stoker.recipe.loading import load_recipe
from stoker.run.trials import Trial, TrialRanks
from stoker.testing import write_tiny_data, write_tiny_model

# Dense bfloat16 TFLOP/s without sparsity, from the vendors' data sheets.
PEAK_TFLOPS = {
    "A100": 312.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H200": 989.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
}


@dataclass(frozen=True)
class Shape:
    """A Llama and how it is trained."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    vocabulary: int
    sequence_length: int
    micro_batch_size: int
    batch_size: int
    steps: int

    @property
    def num_parameters(self) -> int:
        """With untied embeddings and as many key-value heads as query heads."""
        attention = 4 * self.hidden_size**2
        layer = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        return 2 * self.vocabulary * self.hidden_size + self.num_layers * layer + self.hidden_size


class Bench:
    """Writes the model and its data once, and runs cells on `nproc` ranks each."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.folder = folder
        self.shape = shape
        classes, failures = load_all()
        assert not failures, failures
        self.matrix = Matrix(classes)
        self._count = 0
        write_tiny_model(
            folder / "model",
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_heads,
            vocab_size=shape.vocabulary,
            max_position_embeddings=max(512, shape.sequence_length),
            tie_word_embeddings=False,
        )
        self._write_rows()

    def _write_rows(self) -> None:
        """Full rows: what is measured does not depend on the padding of a data set."""
        rows = write_tiny_data(self.folder / "some.jsonl", 200).read_text().splitlines()
        words = " ".join(row["messages"][1]["content"] for row in map(json.loads, rows)) * 40
        length = self.shape.sequence_length + 8
        texts = [words[start : start + length] for start in range(0, 64 * 7, 7)]
        lines = (json.dumps({"text": text}) + "\n" for text in texts)
        (self.folder / "data.jsonl").write_text("".join(lines))

    def run(self, ranks: TrialRanks, values: Mapping[str, str], **train: Any) -> Trial:
        """Train one cell with the plugin `memory` beside it."""
        self._count += 1
        cell = self.matrix.cell(values)
        assert cell.verdict != "refused", cell.reason
        own = self.folder / f"cell-{self._count}"
        own.mkdir()
        tables = {name: with_folder(table, str(own)) for name, table in cell.tables.items()}
        recipe = {
            "run": {"name": "cell"},
            "model": {"path": str(self.folder / "model"), "initial_weights": "random"},
            "data": {
                "train": [{"path": str(self.folder / "data.jsonl"), "format": "text"}],
                "sequence_length": self.shape.sequence_length,
                "supervise": "all",
            },
            "train": {
                "steps": self.shape.steps,
                "batch_size": self.shape.batch_size,
                "micro_batch_size": self.shape.micro_batch_size,
                "learning_rate": 1e-4,
                "schedule": "constant",
                "warmup": 0,
                "precision": cell.values["precision"],
                "log_every": 1,
                **train,
            },
            "checkpoint": {"every": "1000000 steps"},
            "plugins": {**tables, "memory": {"at_step": min(2, self.shape.steps)}},
        }
        path = own / "recipe.toml"
        path.write_text(tomlkit.dumps(recipe))
        return ranks.run(f"cell-{self._count}", load_recipe(path))

    def tokens_per_second(self, trial: Trial) -> float:
        """Median over the steps after the first two."""
        return statistics.median(trial.values("tokens_per_second")[2:] or [float("nan")])

    def utilisation(self, tokens_per_second: float, device: str, ranks: int = 1) -> float | None:
        """Model FLOPs utilisation: 6 FLOPs per parameter and token (Kaplan et al. 2020), attention not
        counted, over the peak of the devices; None where that is not known."""
        peak = next((value for name, value in PEAK_TFLOPS.items() if name in device), None)
        if peak is None:
            return None
        return 6 * self.shape.num_parameters * tokens_per_second / (peak * 1e12 * ranks)


def machine() -> str:
    """The device's name, for the head of a table."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()}, {os.cpu_count()} cores, no GPU, torch {torch.__version__}"
