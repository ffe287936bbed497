"""Says what each rank really holds: weights, gradients, optimizer states, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl

if TYPE_CHECKING:
    from stoker.train.state import State


class MemoryConfig(PluginConfig):
    """When to look."""

    at_step: int = Field(
        default=2,
        ge=1,
        description="Step whose complete gradients are counted; from 2 on there are optimizer states.",
    )


class Memory(Plugin[MemoryConfig]):
    """Count the tensors that are alive on each rank in the middle of one step, by component.

    Writes a `memory` event for each rank and a note for the first. On CUDA devices the event also has
    the peaks of allocated and reserved memory up to there. Costs one walk over all Python objects.
    """

    Config: ClassVar[type[PluginConfig]] = MemoryConfig
    safe_on_resume = ("enabled", "at_step")
    failure_policy = "degrade"

    @hookimpl
    def on_gradients(self, state: State) -> None:
        """In the middle of the step: weights, gradients and optimizer states all exist."""
        if state.step != self.config.at_step:
            return
        from stoker_plugins.memory.counting import count, describe

        counted = count(state.engine)
        state.run.events.write("memory", step=state.step, **counted)
        if state.run.is_main:
            state.run.events.write("note", message=describe(counted))
