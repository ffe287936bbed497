"""What packing saves: how full its micro-batches are, and what padding there would be without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.data.batches import cut_by_length
from stoker.run.skips import batch_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stoker.train.state import State
    from stoker_plugins.packing.batching import BinBatching

STEPS = 20
"""Looked at, evenly over what is left of a run: whatever its length, that takes no time."""


@dataclass(frozen=True)
class Waste:
    """Sums over some steps, all ranks."""

    steps: int
    tokens: int
    bins: int
    """Micro-batches that have rows."""
    capacity: int
    """Tokens that one may hold."""
    padded_micro_batches: int
    """Those that there would be without packing ..."""
    padded_positions: int
    """... and their positions, with padding."""

    @property
    def sentence(self) -> str:
        """For people."""
        padding = 1 - self.tokens / self.padded_positions
        full = self.tokens / (self.bins * self.capacity)
        return (
            f"packing: {_mean(self.bins, self.steps)} a step over all ranks, in the mean {full:.0%} of "
            f"{self.capacity:,} tokens full; without it "
            f"{_mean(self.padded_micro_batches, self.steps)}, {padding:.0%} of their positions padding"
        )


def find_waste(state: State, batching: BinBatching) -> Waste:
    """Of the steps that are left."""
    run = state.run
    first, last = state.step + 1, max(state.total_steps, state.step + 1)
    numbers = sorted({first + (last - first) * part // STEPS for part in range(STEPS)})
    steps = [state.order.rows(batch_of(number, state.skips)) for number in numbers]
    lengths = run.index.lengths
    cut = cut_by_length(run.micro_batch_size)
    bins = [bin for rows in steps for bin in batching(rows, lengths, run.world_size) if bin]
    padded = [rows for step in steps for rows in cut(step, lengths, run.world_size)]
    return Waste(
        steps=len(steps),
        tokens=sum(_tokens(rows, lengths) for rows in steps),
        bins=len(bins),
        capacity=batching.capacity,
        padded_micro_batches=len(padded),
        padded_positions=sum(len(rows) * int(lengths[rows].max()) for rows in padded),
    )


def _tokens(rows: Sequence[int], lengths: NDArray[np.integer]) -> int:
    return int(lengths[list(rows)].sum())


def _mean(count: int, steps: int) -> str:
    mean = count / steps
    return f"{mean:.3g} micro-batch{'' if mean == 1 else 'es'}"
