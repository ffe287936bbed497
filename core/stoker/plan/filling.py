"""What packed micro-batches hold: bins of tokens that the rows of a step fill evenly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.plan.situation import MicroBatch

if TYPE_CHECKING:
    from stoker.plan.dataset import DataEstimate


@dataclass(frozen=True)
class Filling:
    """The bins of a step. Every rank has as many, all about equally full."""

    batch_size: int
    """Rows of a step, over all ranks."""
    ranks: int
    capacity: int
    """Tokens of a bin at most."""
    longest: int
    """Tokens of the longest row."""
    steps: float
    """Of the whole run: the more there are, the larger the largest."""
    data: DataEstimate | None

    @property
    def accumulation(self) -> int:
        """Bins of a rank in the largest step."""
        return self._bins(self._largest_step)

    def largest(self) -> MicroBatch:
        """The fullest bin that is to be expected."""
        if self.data is None:
            positions = min(self.capacity, self._tokens_of_rank)
            return MicroBatch(1, positions, positions - 1, self.longest)
        positions = self._largest_bin(self.data)
        return MicroBatch(1, positions, self._most_supervised(self.data, positions), self.longest)

    def mean(self, data: DataEstimate) -> MicroBatch:
        """The bin that takes the mean time, where every step has as many as the largest."""
        share = self.batch_size / (self.ranks * self.accumulation)
        positions = max(2, round(share * data.tokens_per_row))
        supervised = max(1, round(share * data.supervised_per_row))
        return MicroBatch(1, positions, supervised, max(1, round(data.tokens_per_row)))

    @property
    def _largest_step(self) -> float:
        """Tokens."""
        if self.data is None:
            return self.batch_size * self.longest
        return self.data.largest_sum(self.batch_size, self.steps)

    @property
    def _tokens_of_rank(self) -> int:
        """In a step, at most."""
        return math.ceil(self.batch_size / self.ranks) * self.longest

    def _bins(self, tokens: float) -> int:
        """Of a rank, in a step of so many tokens."""
        return max(1, math.ceil(tokens / (self.capacity * self.ranks)))

    def _largest_bin(self, data: DataEstimate) -> int:
        largest = self._largest_step
        smallest = 2 * self.batch_size * data.tokens_per_row - largest
        if self._bins(smallest) < self._bins(largest):
            return self.capacity  # some step just fills its bins
        bins = self.ranks * self._bins(largest)
        # Bins are level to within a short row.
        uneven = data.tokens_per_row if bins > 1 else 0.0
        return min(self.capacity, max(self.longest, math.ceil(largest / bins + uneven)))

    def _most_supervised(self, data: DataEstimate, positions: int) -> int:
        """As many rows as fill the bin, with the spread of their lengths on top."""
        rows = math.ceil(positions / data.tokens_per_row)
        bins = self.steps * self.ranks * self.accumulation
        excess = data.largest_sum(rows, bins) - rows * data.tokens_per_row
        likely = math.ceil(rows * data.supervised_per_row + max(0.0, excess))
        return max(1, min(positions - 1, self.batch_size * data.most_supervised, likely))


def filling(
    *,
    batch_size: int,
    rows: int,
    ranks: int,
    sequence_length: int,
    epochs: float,
    tokens: int | None,
    data: DataEstimate | None,
) -> Filling:
    """`rows`: the recipe's micro-batch size, which says how large a bin is where `tokens` does not."""
    longest = data.longest if data else sequence_length
    steps = max(1.0, data.epoch_rows * epochs / batch_size) if data else 1.0
    capacity = max(longest, tokens or rows * longest)
    return Filling(batch_size, ranks, capacity, longest, steps, data)
