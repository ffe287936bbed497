"""Curves as dots: from buckets of points to one bit mask for each column of dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Final

from stoker_tui.models.series import Bucket, Point

LEAST: Final = 1e-290
"""Smaller numbers are 0: their logarithms and quotients fail."""
_SMOOTHED_COLUMNS: Final = 250
_FAR: Final = 1_000_000
"""Dots; nothing is placed further out."""

_PATTERNS: Final = ("1", "10", "1110", "111010", "11111100", "1100")
"""Line patterns, dot by dot, of the looks."""


@dataclass(frozen=True)
class Scale:
    """From values to dots, 0 the lowest of `dots`."""

    low: float
    high: float
    dots: int
    log: bool = False

    def dot(self, value: float) -> int:
        """The dot of a finite value, perhaps outside."""
        low, high = self.low, self.high
        if self.log:
            if value < LEAST:
                return 0
            low, high, value = log10(low), log10(high), log10(value)
        place = (value - low) / (high - low) * (self.dots - 1)
        return round(max(-_FAR, min(_FAR, place)))


def trace(
    buckets: Sequence[Bucket | None],
    scale: Scale,
    before: tuple[float, Point] | None = None,
    after: tuple[float, Point] | None = None,
) -> list[int]:
    """The dots of a curve: for each column a bit mask, bit 0 the lowest dot.

    Every bucket is drawn from its least to its greatest value, so a spike of one step shows at any
    width. Neighbours are joined unless a gap is between them. `before` and `after` are the column and
    the value of points off both ends.
    """
    masks = [0] * len(buckets)
    last: tuple[float, int] | None = _placed(before, scale)
    for column, bucket in enumerate(buckets):
        if bucket is None:
            continue
        if not bucket.finite:
            last = None
            continue
        masks[column] |= _span(scale.dot(bucket.low), scale.dot(bucket.high), scale.dots)
        if last is not None:
            _join(masks, last, (column, scale.dot(bucket.first)), scale.dots)
        last = column, scale.dot(bucket.last)
    end = _placed(after, scale)
    if last is not None and end is not None:
        _join(masks, last, end, scale.dots)
    return masks


def patterned(masks: list[int], look: int, dots: int) -> list[int]:
    """The curve with the gaps of its look's line pattern; no peak loses its ends."""
    pattern = _PATTERNS[look]
    if len(pattern) == 1:
        return masks
    along = [bit == "1" for bit in pattern]
    upright = sum(1 << dot for dot in range(dots) if along[dot % len(along)])
    found = list(masks)
    for column, mask in enumerate(masks):
        if mask.bit_count() > 2:
            found[column] = mask & upright | 1 << (mask.bit_length() - 1) | mask & -mask
        elif mask and not along[column % len(along)] and not _is_alone(masks, column):
            found[column] = 0
    return found


def smoothed(buckets: Sequence[Bucket | None], weight: float) -> list[Bucket | None]:
    """The exponential mean of the buckets' means; gaps stay.

    What came before keeps `weight` for each 250th of the width, whether a point is in it or not: so a
    curve looks the same on every terminal, and one of few points, such as evaluations, is not flattened.
    """
    weight **= _SMOOTHED_COLUMNS / len(buckets)
    level = norm = 0.0
    was = 0
    found: list[Bucket | None] = []
    for column, bucket in enumerate(buckets):
        if bucket is None or not bucket.finite:
            found.append(bucket)
            continue
        kept = weight ** (column - was) if norm else 0.0
        level = level * kept + bucket.mean * (1 - weight)
        norm = norm * kept + (1 - weight)
        was, mean = column, level / norm
        found.append(Bucket(mean, mean, mean, mean, mean, 1, 0))
    return found


def _placed(point: tuple[float, Point] | None, scale: Scale) -> tuple[float, int] | None:
    return None if point is None else (point[0], scale.dot(point[1].y))


def _span(one: int, other: int, dots: int) -> int:
    """Mask of the dots from one to the other, inclusive, as far as they are on the chart."""
    low, high = (one, other) if one <= other else (other, one)
    low, high = max(low, 0), min(high, dots - 1)
    return ((1 << (high - low + 1)) - 1) << low if low <= high else 0


def _join(masks: list[int], start: tuple[float, int], end: tuple[float, int], dots: int) -> None:
    """Draw the line between two points; each column gets its half of the way to the next."""
    (x0, y0), (x1, y1) = start, end
    slope = (y1 - y0) / (x1 - x0)
    first = max(floor(x0), -1)
    was = round(y0 + (first - x0) * slope)
    for column in range(first + 1, min(floor(x1), len(masks)) + 1):
        now = round(y0 + (column - x0) * slope)
        leaves, arrives = _halves(was, now)
        if column > 0:
            masks[column - 1] |= _span(was, leaves, dots)
        if column < len(masks):
            masks[column] |= _span(arrives, now, dots)
        was = now


def _halves(was: int, now: int) -> tuple[int, int]:
    """Where the upright line from one dot to the other in the next column changes columns."""
    if abs(now - was) <= 1:
        return was, now
    middle = (was + now) // 2
    return middle, middle + (1 if now > was else -1)


def _is_alone(masks: list[int], column: int) -> bool:
    left = masks[column - 1] if column else 0
    right = masks[column + 1] if column + 1 < len(masks) else 0
    return not left and not right
