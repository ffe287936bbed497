"""Settings whose memory is predicted and measured, as data. Needs torch for measuring only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli
import tomlkit

from stoker.plan.architecture import read_architecture
from stoker.plan.comparing import Comparison
from stoker.plan.facts import Facts, facts_from
from stoker.plan.gpus import CPU, find_gpu
from stoker.plan.measured import Measured, Setting
from stoker.plan.measuring_ranks import MeasuringRanks
from stoker.plan.memory import MemoryEstimate, estimate_memory
from stoker.plan.situation import MicroBatch, Situation
from stoker.recipe.loading import load_recipe
from stoker.registry import make_plugins


@dataclass(frozen=True)
class MemoryCell:
    """A model, a method and an engine, at one size."""

    name: str
    config: Mapping[str, Any]
    """Content of `config.json`."""
    precision: str
    rows: int
    positions: int
    supervised: int
    plugins: Mapping[str, Any] = field(default_factory=dict)
    ranks: int = 1
    accumulation: int = 1
    packed: bool = False
    longest_document: int = 0
    real: bool = False
    """Ranks are processes: DeepSpeed does not run on tensors without memory."""
    fake: bool = False
    """One rank too is measured with tensors without memory: it is large."""
    outside: bool = False
    """An architecture or size that no table of ours has."""
    quick: bool = False

    @property
    def micro_batch(self) -> MicroBatch:
        """Of every rank."""
        longest = self.longest_document or self.positions
        return MicroBatch(self.rows, self.positions, self.supervised, longest)

    @property
    def setting(self) -> Setting:
        """What is measured beside the recipe."""
        fake = self.fake or (self.ranks > 1 and not self.real)
        return Setting(
            self.micro_batch,
            packed=self.packed,
            ranks=self.ranks,
            accumulation=self.accumulation,
            fake=fake,
        )

    @property
    def kind(self) -> str:
        """For tables: method, engine."""
        method = "qlora" if "qlora" in self.plugins else "lora" if "lora" in self.plugins else "full"
        engine = next((name for name in ("fsdp", "zero") if name in self.plugins), "")
        return f"{method}, {engine or ('ddp' if self.ranks > 1 else 'one rank')}"

    def recipe(self, folder: Path) -> Any:
        """A checked recipe, whose files are written to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(dict(self.config)))
        (folder / "rows.jsonl").write_text('{"text": "none is read"}\n')
        tables = {
            "run": {"name": "cell"},
            "model": {"path": str(folder), "initial_weights": "random"},
            "data": {
                "train": [{"path": str(folder / "rows.jsonl"), "format": "text"}],
                "sequence_length": self.positions,
            },
            "train": {
                "steps": 3,
                "batch_size": self.ranks * self.accumulation,
                "micro_batch_size": 1,
                "learning_rate": 1e-3,
                "precision": self.precision,
            },
            "plugins": dict(self.plugins),
        }
        (folder / "cell.toml").write_text(tomlkit.dumps(tables))
        return load_recipe(folder / "cell.toml", [])

    def predict(self, recipe: Any) -> MemoryEstimate:
        """By the formula, on the CPU that it is measured on."""
        situation = Situation(
            architecture=read_architecture(self.config),
            precision=self.precision,
            micro_batch=self.micro_batch,
            gpu=find_gpu(CPU),
            ranks=self.ranks,
            accumulation=self.accumulation,
        )
        return estimate_memory(situation, facts_of(recipe, situation))


def facts_of(recipe: Any, situation: Situation) -> Facts:
    """What the recipe's plugins say."""
    said: dict[str, Any] = {}
    for plugin in make_plugins(recipe.plugins).values():
        if hasattr(plugin, "collect_estimates"):
            said |= plugin.collect_estimates(situation=situation)
    return facts_from(said)


def read_cells(path: Path) -> list[MemoryCell]:
    """Cells of a TOML file: `[configs.NAME]`, and `[[cells]]` that name one."""
    content = tomli.loads(path.read_text(encoding="utf-8"))
    return [
        MemoryCell(**{**cell, "config": content["configs"][cell["config"]]}) for cell in content["cells"]
    ]


class CellBench:
    """Compares one cell after the other; processes that measure are started once for each number."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._ranks: dict[int, MeasuringRanks] = {}
        self._number = 0

    def compare(self, cell: MemoryCell) -> Comparison:
        """Predict and measure. Raises `StokerError` for what cannot be built."""
        self._number += 1
        recipe = cell.recipe(self._folder / f"cell-{self._number}")
        return Comparison(cell.predict(recipe), self._measure(cell, recipe))

    def _measure(self, cell: MemoryCell, recipe: Any) -> Measured:
        processes = 1 if cell.setting.fake else cell.ranks
        if processes not in self._ranks:
            ranks = MeasuringRanks(processes, self._folder / f"ranks-{processes}")
            self._ranks[processes] = self._stack.enter_context(ranks)
        return self._ranks[processes].measure(recipe, cell.setting)


@contextmanager
def cell_bench(folder: Path) -> Iterator[CellBench]:
    """A bench whose processes end with it."""
    with ExitStack() as stack:
        yield CellBench(folder, stack)
