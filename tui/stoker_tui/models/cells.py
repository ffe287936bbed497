"""Values of JSON rows as typed columns, whatever stands in the rows."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from stoker.run.events import Event
from stoker.run.numbers import number

NAN: Final = float("nan")
_MOST: Final = 2**62


def integers_of(rows: Sequence[Event], name: str) -> array[int] | None:
    """The rows' values, or None if one is not a whole number that is at least 0."""
    try:
        values = array("q", [row[name] for row in rows])
    except (KeyError, TypeError, OverflowError):
        return None
    return values if not values or (min(values) >= 0 and max(values) < _MOST) else None


def numbers_of(rows: Sequence[Event], name: str) -> array[float]:
    """The rows' values in 32 bits: infinite where not finite, NaN where there is no number."""
    values = [row.get(name, NAN) for row in rows]
    try:
        found = array("f", values)
        if math.isfinite(sum(found)):
            return found
    except (TypeError, OverflowError):
        pass
    return array("f", [_number(row, name) for row in rows])


def _number(row: Event, name: str) -> float:
    value = row.get(name)
    if isinstance(value, int | float):
        try:
            # What is too large for 32 bits is not finite either.
            found = array("f", [value])[0]
        except OverflowError:
            return math.inf
        return found if math.isfinite(found) else math.inf
    odd = row.get("non_finite")
    return math.inf if isinstance(odd, list) and name in odd else NAN


def ascending_of(rows: Sequence[Event], name: str, least: float) -> array[float]:
    """The rows' values, each at least as large as the one before it and as `least`."""
    values: list[Any] = [row.get(name) for row in rows]
    try:
        found: array[float] = array("d", values)
        if found[0] >= least and all(a <= b for a, b in pairwise(found)) and math.isfinite(found[-1]):
            return found
    except (TypeError, OverflowError):
        pass
    risen: array[float] = array("d")
    for value in values:
        least = max(least, number(value, least))
        risen.append(least)
    return risen
