"""A plugin that spoils single rows or steps, and fits with it, here and on ranks of the pool."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from stoker.errors import NonFiniteError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit

WORK = Path(__file__).as_posix()
"""`pool.call(f"{WORK}:fit", folder=..., row=..., overrides=...)`."""


class SpoilConfig(PluginConfig):
    row: int | None = Field(default=None, description="Row of the index whose loss is spoiled.")
    value: str = Field(default="nan", description="What is added to it: nan or inf.")
    gradient_step: int | None = Field(default=None, description="Step with an infinite gradient.")


class Spoil(Plugin[SpoilConfig]):
    """Makes the loss of one row NaN or infinite while training, or gradients of one step; notes rows."""

    Config = SpoilConfig

    def __init__(self, config: SpoilConfig) -> None:
        super().__init__(config)
        self.rows: list[list[int]] = []
        """Rows of each micro-batch that this rank was given, in order; some ahead of their step."""

    @hookimpl
    def make_collator(self, run: Any) -> Any:
        from stoker.data.batches import collate

        def note(index: Any, rows: list[int], micro_batch: int = 0) -> Any:
            if index is run.index:
                self.rows.append(list(rows))
            return collate(index, rows, micro_batch)

        return note

    @hookimpl
    def patch_model(self, run: Any, model: Any) -> None:
        self.run, self.model = run, model

    @hookimpl
    def make_loss(self, run: Any) -> Any:
        from stoker.train.loss import CausalLMLoss

        loss = CausalLMLoss(self.model)
        row = self.config.row
        bad = None if row is None else run.index.row(row)[0].tolist()

        def spoiled(model: Any, batch: Any) -> Any:
            total, count = loss(model, batch)
            rows = zip(batch.input_ids.tolist(), batch.lengths.tolist(), strict=True)
            if model.training and bad in [ids[:length] for ids, length in rows]:
                # Added, so the gradient knows nothing of it.
                total = total + float(self.config.value)
            return total, count

        return spoiled

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        if state.step == self.config.gradient_step:
            for _, gradient in state.engine.gradients():
                gradient.view(-1)[:1] = math.inf


def fit(
    folder: str,
    overrides: list[str],
    directory: str | None = None,
    **config: Any,
) -> dict[str, Any]:
    """A fit with `Spoil`, goes on with the run in `directory`: what it trained on, or how it failed."""
    from stoker.run.directory import RunDirectory
    from stoker.run.events import read_events

    spoil = Spoil(SpoilConfig(**config))
    given = None if directory is None else RunDirectory(Path(directory))
    error: NonFiniteError | None = None
    try:
        tiny_fit(Path(folder), {"spoil": spoil}, overrides, directory=given)
    except NonFiniteError as caught:
        error = caught
    run = given or RunDirectory(max((Path(folder) / "runs").glob("tiny-*"), key=_number))
    events = read_events(run.events_path)
    return {
        "directory": str(run.path),
        "message": error and error.message,
        "hint": error and error.hint,
        "step": error and error.step,
        "run_step": spoil.run.step,
        "losses": {e["step"]: e["loss"] for e in events if e["kind"] == "step"},
        "alerts": [e for e in events if e["kind"] == "alert"],
        "rows": spoil.rows,
        "weights": _digest(spoil.model),
    }


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _digest(model: Any) -> float:
    """One number for all weights: equal for equal ones, and for hardly any others."""
    flat = torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])
    return float((flat * torch.arange(1, len(flat) + 1)).sum())
