"""Values of JSON lines as numbers, whatever stands in the lines."""

from __future__ import annotations

import math
from typing import Any, overload


@overload
def number(value: Any) -> float | None: ...
@overload
def number(value: Any, default: float) -> float: ...
def number(value: Any, default: float | None = None) -> float | None:
    """A finite number, else `default`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    try:
        return float(value) if math.isfinite(value) else default
    except OverflowError:
        return default


@overload
def whole(value: Any, default: int = 0) -> int: ...
@overload
def whole(value: Any, default: None) -> int | None: ...
def whole(value: Any, default: int | None = 0) -> int | None:
    """A whole number, else `default`."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def text(value: Any) -> str:
    """A string, else an empty one."""
    return value if isinstance(value, str) else ""
