"""Ends a run when a metric stops getting better, and makes the best checkpoint its result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import ExitCode, PluginError
from stoker.recipe.checks import EVAL_FRACTION
from stoker.recipe.problems import Fix, Problem
from stoker.run.ledger import SECONDS_PER_HOUR, read_ledger
from stoker.run.lines import format_seconds, format_usd

if TYPE_CHECKING:
    from stoker.checkpoint.finding import Checkpoint
    from stoker.recipe.model import Recipe
    from stoker.run.context import Outcome
    from stoker.train.state import State


EVALUATE_EVERY = 100
"""Steps between evaluations where nobody says another number."""
EVALUATION_METRICS = ("eval_loss", "best_eval_loss")


class EarlyStoppingConfig(PluginConfig):
    """`metric` is anything that is logged or evaluated."""

    metric: str = Field(
        default="eval_loss",
        description="`eval_loss`, or a number of the log rows such as `loss` or `grad_norm`.",
    )
    mode: Literal["min", "max"] = Field(
        default="min", description="Whether smaller or larger is better."
    )
    patience: int = Field(
        default=3, ge=1, description="Measurements in a row without improvement that end the run."
    )
    min_delta: float = Field(
        default=0.0, ge=0, description="An improvement must be larger than this, in the metric's unit."
    )


class EarlyStopping(Plugin[EarlyStoppingConfig]):
    """Stop after `patience` measurements without improvement; a checkpoint is kept of the best."""

    Config: ClassVar[type[PluginConfig]] = EarlyStoppingConfig

    def __init__(self, config: EarlyStoppingConfig) -> None:
        super().__init__(config)
        self.best: float | None = None
        self.best_step = 0
        self.without_improvement = 0
        self._improved = False
        self._window: list[float] = []
        self._steps_done = 0
        self._seconds = 0.0
        """Of this attempt's steps and of the evaluations between them."""

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """An evaluation metric needs rows to evaluate on, more than once."""
        if self.config.metric != "eval_loss":
            return []
        if recipe.train.evaluate_every is None:
            return [
                Problem(
                    key="plugins.early_stopping.metric",
                    message="'eval_loss' is measured at the start and the end only.",
                    hint="Set train.evaluate_every to a number of steps.",
                    fix=Fix(action="set", key="train.evaluate_every", value=EVALUATE_EVERY),
                )
            ]
        if not recipe.data.eval and recipe.data.eval_fraction == 0:
            return [
                Problem(
                    key="plugins.early_stopping.metric",
                    message="'eval_loss' is never measured: the recipe has nothing to evaluate on.",
                    hint="Set data.eval or data.eval_fraction.",
                    fix=Fix(action="set", key="data.eval_fraction", value=EVAL_FRACTION),
                )
            ]
        return []

    @hookimpl
    def on_evaluate_end(self, state: State, metrics: Mapping[str, float]) -> None:
        if self._steps_done:
            self._seconds += metrics["seconds"]
        if self.config.metric in metrics:
            self._measure(state.step, metrics[self.config.metric])

    @hookimpl
    def on_log(self, state: State, rows: Sequence[Mapping[str, float]]) -> None:
        """Measure the mean over `train.log_every` steps, whatever else makes a log point between."""
        metric = self.config.metric
        self._steps_done += len(rows)
        self._seconds += sum(row["step_seconds"] for row in rows)
        if metric not in rows[-1]:
            if metric not in EVALUATION_METRICS:
                raise PluginError(
                    f"plugins.early_stopping.metric: nothing called {metric!r} is measured.",
                    hint=f"There are {', '.join([*EVALUATION_METRICS, *rows[-1]])}.",
                )
            return
        self._window += [row[metric] for row in rows]
        if len(self._window) >= state.run.recipe.train.log_every:
            self._measure(state.step, sum(self._window) / len(self._window))
            self._window = []

    def _measure(self, step: int, value: float) -> None:
        sign = 1.0 if self.config.mode == "min" else -1.0
        best = math.inf if self.best is None else sign * self.best
        improved = sign * value < best - self.config.min_delta
        # Before the first step there is nothing to save that is not there already.
        self._improved = improved and step > 0
        if improved:
            self.best, self.best_step, self.without_improvement = value, step, 0
        else:
            self.without_improvement += 1

    @hookimpl
    def should_checkpoint(self, state: State) -> bool:
        """Save the best, at the very step that was measured."""
        improved, self._improved = self._improved, False
        return improved

    @hookimpl
    def should_stop(self, state: State) -> bool:
        return self.without_improvement >= self.config.patience

    @hookimpl
    def on_train_end(self, state: State, outcome: Outcome) -> None:
        """Say what was not trained, in dollars where the run keeps a ledger."""
        left = state.total_steps - state.step
        stopped = outcome.exit_code == ExitCode.DONE and self.should_stop(state)
        if state.run.is_main and stopped and left > 0:
            seconds = self._seconds / max(1, self._steps_done) * left
            usd_per_hour = read_ledger(state.run.directory.ledger_path).usd_per_hour
            saved = (
                f"{format_usd(seconds / SECONDS_PER_HOUR * usd_per_hour)} not spent"
                if usd_per_hour
                else f"{format_seconds(seconds)} not trained"
            )
            message = (
                f"stopped at step {state.step} of {state.total_steps}, {self.config.metric} was best at "
                f"step {self.best_step}: about {saved}"
            )
            state.run.events.write("note", message=message)

    @hookimpl
    def make_result(self, state: State) -> Checkpoint | None:
        """The best checkpoint, where it was saved."""
        for checkpoint in state.checkpoints:
            if checkpoint.step == self.best_step:
                return checkpoint
        return None

    def save_state(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_step": self.best_step,
            "without_improvement": self.without_improvement,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.best = state["best"]
        self.best_step = state["best_step"]
        self.without_improvement = state["without_improvement"]
