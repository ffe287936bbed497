"""Which rows of a step share a micro-batch: bins of tokens instead of a number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from stoker_plugins.packing.bins import fill_bins

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stoker.run.context import Run


@dataclass
class BinBatching:
    """A `stoker.data.batches.Batching`. A step keeps its rows; only how they are cut is another.

    The number of bins is a multiple of the ranks, so with more ranks a step may be cut otherwise.
    """

    run: Run
    tokens: int | None = None

    def __call__(
        self, rows: Sequence[int], lengths: NDArray[np.integer], world_size: int
    ) -> list[list[int]]:
        own: list[int] = lengths[list(rows)].tolist()
        bins = fill_bins(own, self.capacity, world_size)
        return [[rows[position] for position in bin] for bin in bins]

    @property
    def capacity(self) -> int:
        """Tokens of a bin: as said, else what the largest padded micro-batch would hold.

        Then no micro-batch takes more memory than the largest would without packing.
        """
        return self.tokens or self.run.micro_batch_size * self._longest

    @cached_property
    def _longest(self) -> int:
        """Tokens of the longest row that is trained on."""
        return int(self.run.index.lengths.max())
