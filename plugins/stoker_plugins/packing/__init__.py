"""Packing: rows of a micro-batch share one row, so that no computation goes into padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice

if TYPE_CHECKING:
    from torch import nn

    from stoker.data.batches import Collator
    from stoker.plan.situation import Situation
    from stoker.run.context import Run
    from stoker.train.state import State


class PackingConfig(PluginConfig):
    """No options: `train.micro_batch_size` says how many rows are laid one after the other."""


class Packing(Plugin[PackingConfig]):
    """Lay the rows of a micro-batch one after the other, each a document that sees only itself.

    Losses are those of padded rows. A model whose attention cannot keep documents apart is refused.
    """

    Config: ClassVar[type[PluginConfig]] = PackingConfig
    provides = ("packing",)
    choices = (Choice("packing", "packed"),)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        return {"packed": True}

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
    def on_train_start(self, state: State) -> None:
        """Raises `PluginError` where packed documents have other logits than unpacked ones."""
        from stoker.train.packing_proof import prove_apart

        prove_apart(state)
