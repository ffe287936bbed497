"""Ranges of a chart's axes: of all curves, and with round ends."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, log10

Range = tuple[float, float]


def union(extents: Iterable[Range | None]) -> Range | None:
    """The smallest range that holds all; None where there is none."""
    known = [extent for extent in extents if extent is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def settled(extent: Range) -> Range:
    """`extent`, both ends moved out to rounder numbers, by up to 3 %.

    A range that changed at each step of a growing run would move every dot of its chart.
    """
    low, high = extent
    if high <= low:
        return low, low + 1.0
    grain = nice_below((high - low) / 32)
    return floor(low / grain + 1e-9) * grain, ceil(high / grain - 1e-9) * grain


def nice_below(value: float) -> float:
    """The greatest of 1, 2, 5, 10, ... (times a power of ten) up to a positive `value`."""
    power = 10.0 ** floor(log10(value))
    for digit in (5.0, 2.0, 1.0):
        if digit * power <= value * (1 + 1e-9):
            return digit * power
    return power
