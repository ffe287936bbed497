"""One curve's points, summarised for any range and width at a cost that does not grow with the run."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from stoker_tui.models.pyramid import Pyramid, is_number, odd_in


class Bucket(NamedTuple):
    """The points of one column of a chart."""

    low: float
    """Least and greatest finite value; NaN where there is none: a gap."""
    high: float
    first: float
    """Values at its two ends, to join it to its neighbours; NaN in a gap."""
    last: float
    mean: float
    finite: int
    """How many values are finite."""
    odd: int
    """Of values that are not finite."""


class Point(NamedTuple):
    """One point of a curve."""

    x: float
    y: float


class Series:
    """A view of two growing columns: `xs` ascending, `ys` NaN where there is no value.

    +-inf stands for a value that is not finite. Columns may be cut off at their end and grow again
    (a resume); `refresh` notices. Call it after each change: no other method looks for changes.
    """

    def __init__(
        self, xs: Sequence[float], ys: Sequence[float], *, pyramid: Pyramid | None = None
    ) -> None:
        """`pyramid`: that of the same `ys`, where there is one."""
        self._xs = xs
        self._ys = ys
        self._size = 0
        self._pyramid = pyramid or Pyramid(ys)
        self.refresh()

    def along(self, xs: Sequence[float]) -> Series:
        """The same values over other `xs`; what summarises them is shared."""
        return Series(xs, self._ys, pyramid=self._pyramid)

    def __len__(self) -> int:
        return self._size

    def refresh(self) -> None:
        """Take in what was appended; after a cut, whatever follows it."""
        self._size = min(len(self._xs), len(self._ys))
        unchanged = self._pyramid.unchanged()
        if unchanged < self._pyramid.covered:
            self._pyramid.keep(unchanged)
        self._pyramid.grow(self._size)

    @property
    def extent(self) -> tuple[float, float] | None:
        """The first and the last x; None where there is no point."""
        return (self._xs[0], self._xs[self._size - 1]) if self._size else None

    def buckets(self, low: float, high: float, columns: int) -> list[Bucket | None]:
        """What lies in each of `columns` equal parts of `low` to `high`; None where no point is."""
        size, xs = self._size, self._xs
        width = (high - low) / columns
        start = bisect_left(xs, low, 0, size)
        found: list[Bucket | None] = []
        for column in range(1, columns + 1):
            if column < columns:
                stop = bisect_left(xs, low + column * width, start, size)
            else:
                stop = bisect_right(xs, high, start, size)
            found.append(self._bucket(start, stop) if start < stop else None)
            start = stop
        return found

    def nearest(self, x: float) -> Point | None:
        """The point closest to `x`."""
        if not self._size:
            return None
        after = bisect_left(self._xs, x, 0, self._size)
        if after == self._size or (after and x - self._xs[after - 1] <= self._xs[after] - x):
            after -= 1
        return self._point(after)

    def before(self, x: float) -> Point | None:
        """The last point left of `x`."""
        index = bisect_left(self._xs, x, 0, self._size) - 1
        return self._point(index) if index >= 0 else None

    def after(self, x: float) -> Point | None:
        """The first point right of `x`."""
        index = bisect_right(self._xs, x, 0, self._size)
        return self._point(index) if index < self._size else None

    def odd_between(self, low: float, high: float) -> int:
        """How many values from `low` to `high` are not finite."""
        start = bisect_left(self._xs, low, 0, self._size)
        return self._odd(start, bisect_right(self._xs, high, start, self._size))

    def _point(self, index: int) -> Point:
        return Point(self._xs[index], self._ys[index])

    def _bucket(self, start: int, stop: int) -> Bucket:
        ys = self._ys
        low, high, total, finite = self._pyramid.between(start, stop)
        odd = self._odd(start, stop) if finite < stop - start else 0
        if not finite:
            return Bucket(nan, nan, nan, nan, nan, 0, odd)
        mean = total / finite
        first, last = ys[start], ys[stop - 1]
        return Bucket(
            low,
            high,
            first if is_number(first) else mean,
            last if is_number(last) else mean,
            mean,
            finite,
            odd,
        )

    def _odd(self, start: int, stop: int) -> int:
        """How many values are not finite, without looking at each."""
        known, covered = self._pyramid.odd, self._pyramid.covered
        found = bisect_left(known, stop) - bisect_left(known, start)
        return found + len(odd_in(self._ys[max(start, covered) : stop]))
