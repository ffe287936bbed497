"""Copies a run's numbers to TensorBoard, Weights & Biases and MLflow, through Accelerate's trackers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Final

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import ExitCode, MissingRequirementError
from stoker_plugins.trackers.config import TrackersConfig
from stoker_plugins.trackers.ending import Ending
from stoker_plugins.trackers.mirror import Mirror
from stoker_plugins.trackers.problems import find_problems

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.problems import Problem
    from stoker.run.context import Outcome, Run
    from stoker.train.state import State

PACKAGES: Final = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""What each tracker imports."""


class Trackers(Plugin[TrackersConfig]):
    """Mirror the run's events: a process beside rank 0 reads them from disk and hands them on.

    Training waits for nothing but the start of that process and, for at most `drain_seconds`, its end.
    """

    Config: ClassVar[type[PluginConfig]] = TrackersConfig
    failure_policy = "degrade"
    safe_on_resume = ("enabled", *TrackersConfig.model_fields)

    def __init__(self, config: TrackersConfig) -> None:
        super().__init__(config)
        self._mirror: Mirror | None = None

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """Options that contradict each other."""
        return list(find_problems(self.config))

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` where the package of a tracker is not installed."""
        missing = [name for name in self.config.use if find_spec(PACKAGES[name]) is None]
        if run.is_main and missing:
            raise MissingRequirementError(
                f"plugin 'trackers' needs packages that are not installed: {', '.join(missing)}.",
                hint="Run: pip install 'stoker[trackers]'",
            )

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Not earlier: what fails before its first step leaves no empty run behind in a tracker."""
        if state.run.is_main:
            self._mirror = Mirror.start(state.run.directory, state.run.attempt, self.config)

    @hookimpl
    def on_log(self) -> None:
        if self._mirror is not None:
            self._mirror.check()

    @hookimpl
    def on_run_end(self, run: Run, outcome: Outcome) -> None:
        self._end(run, int(outcome.exit_code), outcome.preempted)

    @hookimpl
    def on_exception(self, run: Run, error: BaseException) -> None:
        code = int(getattr(error, "exit_code", ExitCode.FAILED))
        self._end(run, code, getattr(error, "preempted", False))

    def _end(self, run: Run, exit_code: int, preempted: bool) -> None:
        if self._mirror is None:
            return
        ending = Ending.of(exit_code, preempted, self.config.drain_seconds)
        if trouble := self._mirror.end(ending, run.heartbeat.beat):
            run.events.write("alert", message=f"trackers: {trouble}")
