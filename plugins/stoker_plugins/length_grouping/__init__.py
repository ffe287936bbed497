"""Length grouping: steps of rows of like length, so that less of a padded micro-batch is padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal

if TYPE_CHECKING:
    from stoker.data.index import TokenIndex
    from stoker.data.order import Order
    from stoker.run.context import Run


class LengthGroupingConfig(PluginConfig):
    """`window`: how far a row may be moved."""

    window: int = Field(
        default=16,
        ge=2,
        description="Steps whose rows are sorted by length together. More save more padding, and make "
        "the rows of a step more alike.",
    )


class LengthGrouping(Plugin[LengthGroupingConfig]):
    """Give each step rows of like length, for runs that pad; with `packing` there is nothing to gain.

    The rows of some steps that follow each other are sorted by length, cut into as many steps, and these
    are taken in a random order. An epoch takes the same rows as without it, weights of sources included.
    """

    Config: ClassVar[type[PluginConfig]] = LengthGroupingConfig
    choices = (Choice("order", "by_length"),)
    refuses = (
        Refusal(
            where={"order": "by_length", "packing": "packed"},
            reason="packed micro-batches have no padding that rows of like length could save",
            hint="Switch off one of the two.",
        ),
    )

    @hookimpl
    def make_order(self, run: Run, index: TokenIndex) -> Order:
        from stoker.data.order import default_order
        from stoker_plugins.length_grouping.order import LengthGroupedOrder

        order = default_order(run.recipe, index.source_sizes)
        return LengthGroupedOrder(order, index.lengths, self.config.window, run.recipe.run.seed)
