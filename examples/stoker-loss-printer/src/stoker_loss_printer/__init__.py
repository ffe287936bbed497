"""Prints the loss at every n-th log point, with how much it fell since the last print.

The top level of a plugin package imports no torch: `stoker check` reads `Config` without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl

if TYPE_CHECKING:
    from stoker.train.state import State


class LossPrinterConfig(PluginConfig):
    """The table `[plugins.loss_printer]`."""

    every: int = Field(default=1, ge=1, description="Print at every n-th log point.")


class LossPrinter(Plugin[LossPrinterConfig]):
    """Print the loss to the log of rank 0, averaged over the steps since the last print."""

    Config: ClassVar[type[PluginConfig]] = LossPrinterConfig
    # A printer is not worth a run: if it raises, it is reported once and left out.
    failure_policy = "degrade"

    def __init__(self, config: LossPrinterConfig) -> None:
        super().__init__(config)
        self.num_log_points = 0
        self.losses: list[float] = []
        self.previous: float | None = None

    @hookimpl
    def on_log(self, state: State, rows: Sequence[Mapping[str, float]]) -> None:
        """Called with the steps since the last log point, as numbers on the host."""
        self.losses += [row["loss"] for row in rows]
        self.num_log_points += 1
        if self.num_log_points % self.config.every == 0:
            self._print(state)

    def _print(self, state: State) -> None:
        mean = sum(self.losses) / len(self.losses)
        change = "" if self.previous is None else f" ({mean - self.previous:+.4f})"
        self.previous, self.losses = mean, []
        if state.run.is_main:
            print(f"loss printer: step {state.step}: {mean:.4f}{change}", flush=True)

    def save_state(self) -> dict[str, Any]:
        """What a resumed run needs to go on counting; stored as JSON in the checkpoint."""
        return {"num_log_points": self.num_log_points, "losses": self.losses, "previous": self.previous}

    def load_state(self, state: dict[str, Any]) -> None:
        self.num_log_points = state["num_log_points"]
        self.losses = list(state["losses"])
        self.previous = state["previous"]
