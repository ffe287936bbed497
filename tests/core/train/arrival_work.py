"""A plugin that makes one rank slow, and what ranks say of their waits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit

WORK = Path(__file__).as_posix()
"""`pool.call(f"{WORK}:fit", folder=..., seconds=..., plugins=...)`."""


class SlowConfig(PluginConfig):
    seconds: float = Field(description="What rank 1 takes longer before each step.")


class Slow(Plugin[SlowConfig]):
    """Sleeps on rank 1; notes the rows of log points."""

    Config = SlowConfig

    def __init__(self, config: SlowConfig) -> None:
        super().__init__(config)
        self.rows: list[Mapping[str, float]] = []

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        time.sleep(self.config.seconds * state.run.rank)

    @hookimpl
    def on_log(self, rows: Sequence[Mapping[str, float]]) -> None:
        self.rows += rows


def fit(folder: str, seconds: float, plugins: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Rows of this rank, and losses and `cost` events of the run."""
    slow = Slow(SlowConfig(seconds=seconds))
    done = tiny_fit(Path(folder), {"slow": slow, **(plugins or {})}, ["train.steps=6"])
    return {"rows": slow.rows, "losses": done.losses, "costs": done.of_kind("cost")}
