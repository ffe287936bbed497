"""Packing: a micro-batch is a bin filled with rows, so that no computation goes into padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice

if TYPE_CHECKING:
    from torch import nn

    from stoker.data.batches import Batching, Collator
    from stoker.plan.situation import Situation
    from stoker.run.context import Run
    from stoker.train.state import State


class PackingConfig(PluginConfig):
    """`train.micro_batch_size` says how large a bin is, unless `tokens` does."""

    tokens: int | None = Field(
        default=None,
        ge=2,
        description="Tokens of a micro-batch at most, on one rank; a longer row is alone in its own. "
        "Unset: `train.micro_batch_size` times the longest row, which is what it holds without packing.",
    )


class Packing(Plugin[PackingConfig]):
    """Fill micro-batches with the rows of a step, each a document that sees only itself.

    A step has the same rows as without it, and losses are those of padded rows. A model whose attention
    cannot keep documents apart is refused.
    """

    Config: ClassVar[type[PluginConfig]] = PackingConfig
    provides = ("packing",)
    choices = (Choice("packing", "packed"),)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        return {"packed": True, "packed_tokens": self.config.tokens}

    @hookimpl
    def patch_model(self, run: Run, model: nn.Module) -> None:
        """Raises `PluginError`, before any weight is read, for a model that would mix documents."""
        if run.is_training:
            from stoker.train.packing import require_packable

            require_packable(model, run.recipe.data.sequence_length)

    @hookimpl
    def make_collator(self, run: Run) -> Collator:
        from stoker_plugins.packing.collate import one_after_the_other

        return one_after_the_other

    @hookimpl
    def make_batching(self, run: Run) -> Batching:
        from stoker_plugins.packing.batching import BinBatching

        return BinBatching(run, self.config.tokens)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Says what is saved. Raises `PluginError` where documents are not kept apart."""
        from stoker.train.packing_proof import prove_apart
        from stoker_plugins.packing.batching import BinBatching
        from stoker_plugins.packing.waste import find_waste

        prove_apart(state)
        if state.run.is_main:
            waste = find_waste(state, BinBatching(state.run, self.config.tokens))
            state.run.events.write("note", message=waste.sentence)
