"""Which rows each step takes, as a pure function of (seed, step).

Nothing is shuffled in memory and nothing is saved: row i of an epoch is a keyed permutation
f(seed, epoch, i), so the cursor of a run is its step number and resuming takes no time.

The permutation is a swap-or-not shuffle (Hoang, Morris, Rogaway 2012): it works on any number of
rows, needs no table, and is plain 64-bit arithmetic, so it is the same on every machine and with
every library version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.data.epochs import num_steps, repeats_and_extra

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.schema import TrainTable

Integers = NDArray[np.int64]
_Words = NDArray[np.uint64]

_ROUNDS_PER_BIT = 6
"""Rounds of the shuffle for each bit of the number of rows: the paper's bound for a full mix."""
_BLOCK_ROWS = 4096
_MASK = 2**64 - 1


class Order(Protocol):
    """Which rows each step takes. A plugin may provide its own; it must be a pure function."""

    @property
    def num_rows(self) -> int:
        """Rows in one epoch, repeats of weighted sources included."""
        ...

    @property
    def steps_per_epoch(self) -> float:
        """Steps in one epoch; not always a whole number, because a step may straddle epochs."""
        ...

    def rows(self, step: int) -> list[int]:
        """Row numbers of the global batch of `step`, which counts from 1. The same on all ranks."""
        ...


@dataclass(frozen=True)
class _Source:
    """Rows [first, first + num_rows) of the index, and how an epoch takes them."""

    first: int
    num_rows: int
    repeats: int
    """How often an epoch takes every row."""
    extra_rows: int
    """How many rows an epoch takes once more: the fractional part of the weight."""

    @property
    def epoch_rows(self) -> int:
        return self.num_rows * self.repeats + self.extra_rows


class KeyedOrder:
    """One endless stream of rows, epoch after epoch, cut into steps of `batch_size` rows.

    Step s takes rows [(s - 1) * batch_size, s * batch_size) of the stream. The last step of an
    epoch is filled from the next one, so every step has the same number of rows.

    A source of weight 2.5 gives an epoch each of its rows twice, and every other row once more;
    two epochs together take every row exactly five times.
    """

    def __init__(
        self,
        source_sizes: Sequence[int],
        batch_size: int,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> None:
        """`source_sizes`: rows of each source, in index order. `weights`: one each, default 1."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        sizes = [int(size) for size in source_sizes]
        if weights is not None and len(weights) != len(sizes):
            raise ValueError(f"{len(weights)} weights for {len(sizes)} sources")
        self.batch_size = batch_size
        self.seed = seed
        self._sources = _plan_sources(sizes, weights or [1.0] * len(sizes))
        self._starts = np.cumsum([0, *(source.epoch_rows for source in self._sources)])
        if self.num_rows == 0:
            raise ValueError("an order needs at least one row")
        self._block = lru_cache(maxsize=4)(self._compute_block)

    @property
    def num_rows(self) -> int:
        """Rows in one epoch, repeats of weighted sources included."""
        return int(self._starts[-1])

    @property
    def steps_per_epoch(self) -> float:
        """Steps in one epoch, not always a whole number."""
        return self.num_rows / self.batch_size

    def rows(self, step: int) -> list[int]:
        """Row numbers of the global batch of `step`, which counts from 1."""
        if step < 1:
            raise ValueError(f"steps count from 1, got {step}")
        start = (step - 1) * self.batch_size
        return self._slice(start, start + self.batch_size)

    def _slice(self, start: int, stop: int) -> list[int]:
        """Rows [start, stop) of the endless stream."""
        rows: list[int] = []
        while start < stop:
            epoch, position = divmod(start, self.num_rows)
            number, offset = divmod(position, _BLOCK_ROWS)
            part = self._block(epoch, number)[offset : offset + stop - start]
            rows += part.tolist()
            start += len(part)
        return rows

    def _compute_block(self, epoch: int, number: int) -> Integers:
        """A part of one epoch: many positions at once cost little more than one."""
        start = number * _BLOCK_ROWS
        positions = np.arange(start, min(start + _BLOCK_ROWS, self.num_rows), dtype=np.int64)
        slots = permute(positions, self.num_rows, derive_key(self.seed, "epoch", epoch))
        rows = np.empty_like(slots)
        for source_number, source in enumerate(self._sources):
            offsets = slots - self._starts[source_number]
            own = (offsets >= 0) & (offsets < source.epoch_rows)
            rows[own] = source.first + self._rows_of(source_number, source, epoch, offsets[own])
        return rows

    def _rows_of(self, number: int, source: _Source, epoch: int, offsets: Integers) -> Integers:
        """Rows of one source, counted from its first, for slots of one epoch."""
        whole = source.num_rows * source.repeats
        rows = offsets % max(source.num_rows, 1)
        extra = offsets >= whole
        # The extra rows walk through the source from epoch to epoch, so no row is favoured.
        positions = epoch * source.extra_rows + offsets[extra] - whole
        rows[extra] = self._walk(number, source.num_rows, positions)
        return rows

    def _walk(self, number: int, num_rows: int, positions: Integers) -> Integers:
        rows = np.empty_like(positions)
        rounds = positions // max(num_rows, 1)
        for turn in np.unique(rounds).tolist():
            key = derive_key(self.seed, f"extra rows of source {number}", turn)
            rows[rounds == turn] = permute(positions[rounds == turn] % num_rows, num_rows, key)
        return rows


def default_order(recipe: Recipe, source_sizes: Sequence[int]) -> KeyedOrder:
    """The order of a recipe where no plugin makes another. `source_sizes`: rows of each source."""
    weights = [source.weight for source in recipe.data.train]
    return KeyedOrder(source_sizes, recipe.train.batch_size, recipe.run.seed, weights)


def total_steps(train: TrainTable, order: Order) -> int:
    """Optimizer steps of a whole run: `steps`, or enough to take every row `epochs` times."""
    return num_steps(train, order.steps_per_epoch)


def permute(positions: Integers, size: int, key: int) -> Integers:
    """A keyed permutation of range(size), evaluated at `positions` only."""
    values = positions.astype(np.uint64)
    modulus = np.uint64(size)
    for turn in range(_ROUNDS_PER_BIT * size.bit_length()):
        offset = np.uint64(_mix_int(key + 2 * turn) % size)
        partners = (offset + modulus - values) % modulus
        # Both of a pair see the same coin, so a swap moves both: each round is a permutation.
        coins = _mix(np.maximum(values, partners) ^ np.uint64(_mix_int(key + 2 * turn + 1)))
        values = np.where(coins & np.uint64(1), partners, values)
    return values.astype(np.int64)


def derive_key(seed: int, purpose: str, number: int) -> int:
    """A 64-bit key that depends on all three arguments."""
    key = _mix_int(seed)
    for byte in purpose.encode():
        key = _mix_int(key ^ byte)
    return _mix_int(key ^ _mix_int(number))


def _mix_int(value: int) -> int:
    """The finaliser of SplitMix64."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _mix(values: _Words) -> _Words:
    """The same as `_mix_int`, for arrays, which wrap by themselves."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _plan_sources(sizes: Sequence[int], weights: Sequence[float]) -> list[_Source]:
    sources: list[_Source] = []
    first = 0
    for size, weight in zip(sizes, weights, strict=True):
        repeats, extra = repeats_and_extra(size, weight)
        sources.append(_Source(first, size, repeats, extra))
        first += size
    return sources
