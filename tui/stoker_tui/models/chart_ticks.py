"""Round numbers for axes, and short words for them: 12k, 1.2B, 2h05, 8e-6."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite, log10
from typing import Final

from stoker_tui.models.chart_range import nice_below

_TIMES: Final = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
)
_SUFFIXES: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def ticks(low: float, high: float, most: int, least: float = 0.0) -> list[float]:
    """At most `most` round numbers from `low` to `high`, evenly and at least `least` apart."""
    if high <= low or most < 1:
        return []
    step = nice_above(max((high - low) / most, least))
    return _multiples(low, high, step, most)


def time_ticks(low: float, high: float, most: int) -> list[float]:
    """The same for seconds: round minutes, hours, days."""
    if high <= low or most < 1:
        return []
    wanted = (high - low) / most
    step: float = next((each for each in _TIMES if each >= wanted), 86400 * nice_above(wanted / 86400))
    return _multiples(low, high, step if wanted > 0.5 else nice_above(wanted), most)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten from `low` to `high`, both positive; 1, 2, 5 between them where these are few."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    decades = _within(low, high, [10.0**power for power in powers])
    if len(decades) > 2:
        return decades[:: max(1, ceil(len(decades) / most))]
    steps = _within(low, high, [digit * 10.0**power for power in powers for digit in (1, 2, 5)])
    return steps if len(steps) > 1 else ticks(low, high, most)


def nice_above(value: float) -> float:
    """The least of 1, 2, 5, 10, ... (times a power of ten) from a positive `value` on."""
    below = nice_below(value)
    if below >= value * (1 - 1e-9):
        return below
    return nice_below(below * 2.5)


def _within(low: float, high: float, values: Sequence[float]) -> list[float]:
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def _multiples(low: float, high: float, step: float, most: int) -> list[float]:
    first = ceil(low / step - 1e-9)
    found = [(first + index) * step for index in range(most + 1)]
    return [0.0 if abs(each) < step / 2 else each for each in found if each <= high + step * 1e-9]


def figure(value: float, digits: int = 4) -> str:
    """At most `digits` significant digits: 1.412, 70.02k, 8.1e-06 as 8.1e-6, nan."""
    if not isfinite(value):
        return str(value)
    size = abs(value)
    for unit, suffix in _SUFFIXES:
        if size >= unit * (1 - 0.5 * 10.0**-digits):
            return f"{value / unit:.{digits}g}{suffix}"
    if 0 < size < 1e-3:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    return f"{value:.{digits}g}"


def figures(values: Sequence[float]) -> list[str]:
    """Each as `figure` says it, with as many decimals as its neighbours: 2.0, 2.5."""
    words = [figure(value) for value in values]
    decimals = max((len(word.partition(".")[2]) for word in words if word[-1].isdigit()), default=0)
    if any(not word.replace(".", "").lstrip("-").isdigit() for word in words):
        return words
    return [f"{value:.{decimals}f}" for value in values]


def duration(seconds: float) -> str:
    """45s, 12m, 2h05, 3d04."""
    whole = round(seconds)
    if abs(whole) < 60:
        return f"{seconds:.3g}s" if 0 < abs(seconds) < 1 else f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}" if hours else f"{days}d"


def x_ticks(kind: str, low: float, high: float, most: int) -> list[float]:
    """Ticks of an x-axis that is called `kind`: times, or whole numbers."""
    return time_ticks(low, high, most) if kind == "time" else ticks(low, high, most, least=1.0)


def x_word(kind: str, value: float) -> str:
    """A tick of an x-axis that is called `kind`."""
    return duration(value) if kind == "time" else figure(value)
