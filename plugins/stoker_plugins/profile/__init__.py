"""Records what chosen steps do, operator by operator: a trace for Perfetto and a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from stoker import Plugin, PluginConfig, hookimpl
from stoker.recipe.problems import Problem

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.run.context import Run
    from stoker.train.state import State
    from stoker_plugins.profile.recording import Recording

_STEPS = re.compile(r"([1-9][0-9]*)(?:-([1-9][0-9]*))?")


class ProfileConfig(PluginConfig):
    """Which steps, on which ranks, and how much of each operator is kept."""

    steps: str = Field(
        default="10-12",
        description="The steps that are recorded, counted from 1: `10-12`, or `10` alone. Each adds "
        "some megabytes to the trace.",
    )
    memory: bool = Field(default=False, description="Also record what operators allocate and free.")
    stacks: bool = Field(
        default=False, description="Also record the lines of Python that called each operator; slow."
    )
    ranks: Literal["first", "all"] = Field(
        default="first", description="Whether rank 0 alone records, or every rank into files of its own."
    )

    @field_validator("steps")
    @classmethod
    def _is_a_range(cls, steps: str) -> str:
        found = _STEPS.fullmatch(steps)
        if found is None:
            raise ValueError(f'{steps!r} is no range of steps: write "10-12", or "10" for one step')
        if found[2] is not None and int(found[2]) < int(found[1]):
            raise ValueError(f"{steps!r} ends before it begins")
        return steps

    @property
    def first(self) -> int:
        """The first step that is recorded."""
        return int(self.steps.partition("-")[0])

    @property
    def last(self) -> int:
        """The last one."""
        return int(self.steps.rpartition("-")[2])


class Profile(Plugin[ProfileConfig]):
    """A trace of chosen steps by torch's profiler, and a table of the operators that take longest.

    Outside these steps nothing is measured, and torch's profiler is not even imported. What cannot be
    recorded or written is an alert; the run goes on.
    """

    Config: ClassVar[type[PluginConfig]] = ProfileConfig
    safe_on_resume = ("enabled", "steps", "memory", "stacks", "ranks")
    failure_policy = "degrade"

    def __init__(self, config: ProfileConfig) -> None:
        super().__init__(config)
        self._recording: Recording | None = None

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """The steps have to be among those of the run."""
        total = recipe.train.steps
        if total is None or self.config.last <= total:
            return []
        return [
            Problem(
                key="plugins.profile.steps",
                message=f"step {self.config.last} is to be recorded, the run ends after step {total}.",
                hint=f"Choose steps from 1 to {total}.",
            )
        ]

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Say so where there is nothing left to record."""
        if not state.run.is_main:
            return
        if state.step >= self.config.last:
            why = f"goes on after step {state.step}"
        elif state.total_steps < self.config.first:
            why = f"ends after step {state.total_steps}"
        else:
            return
        message = f"profile: nothing is recorded of steps {self.config.steps}: the run {why}"
        state.run.events.write("note", message=message)

    @hookimpl
    def on_step_start(self, state: State) -> None:
        """Begin with the first of the steps, or with the first that is left of them."""
        self._begin(state)
        self._name(f"step {state.step}: forward, backward")

    @hookimpl
    def on_gradients(self, state: State) -> None:
        """What follows in the trace is the update."""
        self._name(f"step {state.step}: optimizer")

    def _name(self, part: str) -> None:
        if self._recording is not None:
            self._recording.name(part)

    def _begin(self, state: State) -> None:
        run, config = state.run, self.config
        if self._recording is not None or not config.first <= state.step <= config.last:
            return
        if config.ranks == "all" or run.is_main:
            from stoker_plugins.profile.recording import Recording

            self._recording = Recording(
                run, state.engine.device, state.step, memory=config.memory, stacks=config.stacks
            )

    @hookimpl
    def on_step_end(self, state: State) -> None:
        """Write what was recorded after the last of the steps."""
        if self._recording is None:
            return
        if state.step >= self.config.last:
            self._finish(state.step)
        else:
            self._recording.name("between steps: data, log points, saves")

    @hookimpl
    def on_train_end(self, state: State) -> None:
        """The run was stopped in the middle of the steps: what there is is written."""
        self._finish(state.step)

    @hookimpl
    def on_exception(self, run: Run) -> None:
        """The run failed: the profiler is ended, nothing is written."""
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.drop()

    def _finish(self, step: int) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.write(step)
