"""Percentiles of a growing column over a sliding window, as columns that grow with it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Final, overload

WINDOW: Final = 20
"""Values that a percentile is of."""
STRIDE: Final = 10
"""Values between two points."""


class Percentiles:
    """The middle and the slow end of what the latest steps took.

    `p50` and `p95` keep their identity, and are only ever appended to or cut.
    """

    def __init__(self, ys: Sequence[float]) -> None:
        self._ys = ys
        self.p50 = array("d")
        self.p95 = array("d")
        self._ends = array("d")
        """The value that each window ends with: another one there means that its rows were cut off."""

    def refresh(self) -> None:
        """Take in what was appended; after a cut, what follows it."""
        ys = self._ys
        self._drop_superseded()
        for end in range(_end(len(self.p50)), len(ys) + 1, STRIDE):
            window = sorted(y for y in ys[end - WINDOW : end] if math.isfinite(y))
            self._ends.append(ys[end - 1])
            self.p50.append(window[len(window) // 2] if window else math.nan)
            self.p95.append(window[min(len(window) - 1, len(window) * 19 // 20)] if window else math.nan)

    def _drop_superseded(self) -> None:
        keep = len(self.p50)
        while keep and not self._stands(keep - 1):
            keep -= 1
        for column in (self.p50, self.p95, self._ends):
            del column[keep:]

    def _stands(self, point: int) -> bool:
        ys, end = self._ys, _end(point)
        if end > len(ys):
            return False
        return ys[end - 1] == self._ends[point] or math.isnan(self._ends[point])


class Strided(Sequence[float]):
    """Where on a growing axis the points of percentiles lie, without a copy."""

    def __init__(self, xs: Sequence[float]) -> None:
        self._xs = xs

    def __len__(self) -> int:
        return max(0, (len(self._xs) - WINDOW) // STRIDE + 1)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [self._xs[_end(point) - 1] for point in range(*index.indices(len(self)))]
        return self._xs[_end(range(len(self))[index]) - 1]


def _end(point: int) -> int:
    """The row after the window of a point."""
    return WINDOW + point * STRIDE
