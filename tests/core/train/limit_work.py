"""A plugin that finds the run's allowance used up, and fits with it, here and on ranks of the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from stoker.errors import StokerError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit

WORK = Path(__file__).as_posix()
"""`pool.call(f"{WORK}:fit", folder=..., step=..., rank=..., overrides=...)`."""
REASON = "the allowance is used up"


class AllowanceConfig(PluginConfig):
    step: int = Field(description="After which it is used up; -1: from the start.")
    rank: int = Field(default=0, description="Who notices.")
    while_evaluating: bool = Field(default=False, description="Noticed in an evaluation after it.")
    finishes: bool = Field(default=False, description="Also vote for the end, at the same step.")


class Allowance(Plugin[AllowanceConfig]):
    """Says so from one step on."""

    Config = AllowanceConfig

    def __init__(self, config: AllowanceConfig) -> None:
        super().__init__(config)
        self.is_evaluating = False

    @hookimpl
    def on_evaluate_start(self) -> None:
        self.is_evaluating = True

    @hookimpl
    def on_evaluate_end(self) -> None:
        self.is_evaluating = False

    @hookimpl
    def collect_limits(self, run: Any) -> str | None:
        if self.config.while_evaluating and not self.is_evaluating:
            return None
        return REASON if run.rank == self.config.rank and run.step >= max(0, self.config.step) else None

    @hookimpl
    def should_stop(self, state: Any) -> bool:
        return self.config.finishes and state.step >= self.config.step


def fit(folder: str, overrides: list[str], **config: Any) -> dict[str, Any]:
    """How a fit with the plugin ended on this rank."""
    plugin = Allowance(AllowanceConfig(**config))
    try:
        done = tiny_fit(Path(folder), {"allowance": plugin}, overrides)
    except StokerError as error:
        return {"error": error.message, "exit_code": int(error.exit_code)}
    return {
        "exit_code": int(done.outcome.exit_code),
        "step": done.outcome.step,
        "message": done.outcome.message,
        "saved": done.run.directory.checkpoints_path.joinpath(f"step-{done.outcome.step:08d}").is_dir(),
        "evaluated": [event["step"] for event in done.of_kind("evaluate")],
    }
