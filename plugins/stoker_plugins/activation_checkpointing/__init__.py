"""Activation checkpointing: keeps less for backward and recomputes the rest (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice
from stoker.plan.facts import Checkpointing
from stoker.recipe.problems import Fix, Problem

if TYPE_CHECKING:
    from torch import nn

    from stoker.plan.situation import Situation
    from stoker.recipe.model import Recipe
    from stoker.run.context import Run
    from stoker.train.state import State


class ActivationCheckpointingConfig(PluginConfig):
    """What is kept of a transformer block between its forward and its backward."""

    mode: Literal["full", "selective", "offload"] = Field(
        default="full",
        description="`full` keeps a block's input and recomputes the block; `selective` also keeps the "
        "outputs of matrix products and attention; `offload` recomputes nothing and moves what backward "
        "needs to host memory.",
    )
    every: int = Field(default=1, ge=1, description="Treat every n-th block, beginning with the first.")
    offload_inputs: bool = Field(
        default=False,
        description="Keep the inputs of recomputed blocks in host memory too; for mode `full`.",
    )
    block_class: str | None = Field(
        default=None,
        description="Class of the model's blocks, where they are not the ones that transformers names.",
    )


class ActivationCheckpointing(Plugin[ActivationCheckpointingConfig]):
    """Wrap the forward of transformer blocks, in place, so that parameter names stay as they are.

    Non-reentrant: gradients reach adapters although the embeddings are frozen. Dropout draws the same
    mask when a block is recomputed. An evaluation pays nothing.
    """

    Config: ClassVar[type[PluginConfig]] = ActivationCheckpointingConfig
    provides = ("activation_checkpointing",)
    choices = (
        Choice("checkpointing", "full", {"mode": "full", "every": 1}),
        Choice("checkpointing", "every_n", {"mode": "full"}, example={"every": 2}),
        Choice("checkpointing", "selective", {"mode": "selective"}),
        Choice("checkpointing", "offload", {"mode": "offload"}),
    )

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """Inputs alone are kept in mode `full` only."""
        if not self.config.offload_inputs or self.config.mode == "full":
            return []
        return [
            Problem(
                key="plugins.activation_checkpointing.offload_inputs",
                message=f"mode {self.config.mode!r} keeps more than the inputs of blocks.",
                hint="Set mode to 'full', or leave offload_inputs out.",
                fix=Fix(action="unset", key="plugins.activation_checkpointing.offload_inputs"),
            )
        ]

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        config = self.config
        return {"checkpointing": Checkpointing(config.mode, config.every, config.offload_inputs)}

    @hookimpl
    def checkpoint_activations(self, run: Run, model: nn.Module) -> None:
        if run.is_training:
            from stoker_plugins.activation_checkpointing.wrapping import wrap_blocks

            self.wrapped = wrap_blocks(model, self.config)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Say what happens to how many blocks."""
        if state.run.is_main:
            message = self.wrapped.describe(self.config, state.engine.device.type)
            state.run.events.write("note", message=message)
