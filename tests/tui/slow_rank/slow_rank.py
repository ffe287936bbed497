"""A plugin of somebody else: makes one rank slow, as a hot or a shared GPU would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl

if TYPE_CHECKING:
    from stoker.train.state import State


class SlowRankConfig(PluginConfig):
    """The table `[plugins.slow_rank]`."""

    rank: int = Field(default=1, ge=0, description="Which rank is slow.")
    seconds: float = Field(default=0.25, ge=0, le=60, description="How much longer its steps take.")


class SlowRank(Plugin[SlowRankConfig]):
    """Let one rank sleep in every step."""

    Config: ClassVar[type[PluginConfig]] = SlowRankConfig

    @hookimpl
    def on_step_start(self, state: State) -> None:
        if state.run.rank == self.config.rank:
            time.sleep(self.config.seconds)
