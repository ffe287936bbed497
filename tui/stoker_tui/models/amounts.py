"""Numbers as short as a head line or a title can carry them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from stoker_tui.models.chart_ticks import figure

NONE = "-"
"""What is not known."""


def known(value: float | None, words: Callable[[float], str] = figure) -> str:
    """The value in words; `-` for None and NaN."""
    if value is None or math.isnan(value):
        return NONE
    return words(value) if math.isfinite(value) else "not finite"


def percent(share: float | None) -> str:
    """`43 %` of 0.43."""
    return known(share, lambda value: f"{100 * value:.0f} %")


def seconds_short(seconds: float | None) -> str:
    """`3.74 s`, `340 ms`."""
    return known(seconds, lambda value: f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms")


def time_of_day(t: float) -> str:
    """`12:41:07`, as the clock on the wall here shows it."""
    return time.strftime("%H:%M:%S", time.localtime(t))


def date_of(t: float) -> str:
    """`2026-11-24`, by the calendar on the wall here."""
    return time.strftime("%Y-%m-%d", time.localtime(t))


def bar(share: float, cells: int) -> str:
    """A bar over so many cells, half cells included."""
    halves = round(max(0.0, min(1.0, share)) * cells * 2)
    return ("█" * (halves // 2) + "▌" * (halves % 2)).ljust(cells)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which a share of the finite values lies; NaN of none."""
    found = sorted(value for value in values if math.isfinite(value))
    if not found:
        return math.nan
    place = share * (len(found) - 1)
    low = math.floor(place)
    high = min(low + 1, len(found) - 1)
    return found[low] + (found[high] - found[low]) * (place - low)
