"""Least, greatest and sum of ever larger blocks of a growing column: ranges in logarithmic time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import inf, isnan
from typing import Final, NamedTuple

FAN: Final = 16
"""Values in a block; blocks in a block of the next level."""

LARGEST: Final = 1e300
"""Numbers beyond it count as not finite: they cannot be drawn, nor summed."""


class Summary(NamedTuple):
    """What a range of values amounts to; `low` is above `high` where it holds no number."""

    low: float
    high: float
    total: float
    finite: int
    """How many of them are finite numbers."""


NOTHING: Final = Summary(inf, -inf, 0.0, 0)


def is_number(value: float) -> bool:
    """Whether it can be drawn."""
    return -LARGEST < value < LARGEST


def summarise(values: Sequence[float]) -> Summary:
    """Of the finite numbers among `values`."""
    if not values:
        return NOTHING
    low, high, total = min(values), max(values), sum(values)
    # A NaN hides from min and max, never from the sum.
    if low > -LARGEST and high < LARGEST and not isnan(total):
        return Summary(low, high, total, len(values))
    finite = [value for value in values if is_number(value)]
    return Summary(min(finite), max(finite), sum(finite), len(finite)) if finite else NOTHING


def together(parts: Sequence[Summary]) -> Summary:
    """Of several ranges."""
    lows, highs, totals, finites = zip(*parts, strict=True)
    return Summary(min(lows), max(highs), sum(totals), sum(finites))


class _Level:
    """One summary for each block, in columns."""

    def __init__(self) -> None:
        self.lows = array("d")
        self.highs = array("d")
        self.totals = array("d")
        self.counts = array("q")

    def __len__(self) -> int:
        return len(self.lows)

    def append(self, block: Summary) -> None:
        self.lows.append(block.low)
        self.highs.append(block.high)
        self.totals.append(block.total)
        self.counts.append(block.finite)

    def __getitem__(self, index: int) -> Summary:
        return Summary(self.lows[index], self.highs[index], self.totals[index], self.counts[index])

    def between(self, start: int, stop: int) -> Summary:
        """Of a non-empty range of blocks."""
        return Summary(
            min(self.lows[start:stop]),
            max(self.highs[start:stop]),
            sum(self.totals[start:stop]),
            sum(self.counts[start:stop]),
        )

    def keep(self, size: int) -> None:
        """Forget the blocks from `size` on."""
        for column in (self.lows, self.highs, self.totals, self.counts):
            del column[size:]


class Pyramid:
    """Summaries of whole blocks of `values`; what is short of a block is read from `values`."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = values
        self._levels = [_Level()]
        self.odd = array("q")
        """Indices of numbers that are not finite (NaN is no number), ascending, of whole blocks."""

    @property
    def covered(self) -> int:
        """How many values are in whole blocks."""
        return len(self._levels[0]) * FAN

    def grow(self, size: int) -> None:
        """Take in values up to `size`."""
        base = self._levels[0]
        for start in range(self.covered, size - FAN + 1, FAN):
            values = self._values[start : start + FAN]
            block = summarise(values)
            base.append(block)
            if block.finite < FAN:
                self.odd.extend(start + at for at in odd_in(values))
        self._stack()

    def keep(self, size: int) -> None:
        """Forget what depends on values from `size` on."""
        for level in self._levels:
            size //= FAN
            level.keep(size)
        covered = self.covered
        while self.odd and self.odd[-1] >= covered:
            self.odd.pop()

    def unchanged(self) -> int:
        """How many of the covered values are still what they were, to the block.

        Values change only from some index on, so a few blocks tell.
        """
        low, high = 0, min(len(self._levels[0]), len(self._values) // FAN)
        if high == len(self._levels[0]) and self._probes_hold(high):
            return high * FAN
        while low < high:
            middle = (low + high) // 2
            if self._holds(middle):
                low = middle + 1
            else:
                high = middle
        return low * FAN

    def between(self, start: int, stop: int) -> Summary:
        """Of values `start` to `stop`, exclusive."""
        if stop - start < 2 * FAN:
            return summarise(self._values[start:stop])
        first, last = -(-start // FAN), stop // FAN
        parts = [
            summarise(self._values[start : first * FAN]),
            summarise(self._values[last * FAN : stop]),
        ]
        for level in self._levels:
            if last - first < 2 * FAN or level is self._levels[-1]:
                parts.append(level.between(first, last))
                break
            start, stop, first, last = first, last, -(-first // FAN), last // FAN
            if start < first * FAN:
                parts.append(level.between(start, first * FAN))
            if last * FAN < stop:
                parts.append(level.between(last * FAN, stop))
        return together(parts)

    def _stack(self) -> None:
        """Bring the levels above the first up to date."""
        for index, level in enumerate(self._levels):
            if len(level) < FAN:
                return
            if index + 1 == len(self._levels):
                self._levels.append(_Level())
            above = self._levels[index + 1]
            for start in range(len(above) * FAN, len(level) - FAN + 1, FAN):
                above.append(level.between(start, start + FAN))

    def _probes_hold(self, size: int) -> bool:
        """Whether blocks at growing distances from the end are unchanged."""
        back = 1
        while back <= size:
            if not self._holds(size - back):
                return False
            back *= 2
        return True

    def _holds(self, block: int) -> bool:
        values = self._values[block * FAN : (block + 1) * FAN]
        return summarise(values) == self._levels[0][block]


def odd_in(values: Sequence[float]) -> list[int]:
    """Where `values` are not finite; NaN means that there is no number."""
    return [at for at, value in enumerate(values) if not is_number(value) and not isnan(value)]
