"""The numbers of an event, under the names that trackers show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stoker.run.events import Event

STEP: Final = "step"
_ABOUT_THE_EVENT: Final = frozenset({"v", "t", "attempt", "rank", "step", "total_steps"})
_LEFT_OUT: Final = frozenset({"state", "progress", "resume"})
"""Kinds whose numbers say where the run is, not how it goes."""
_GROUPS: Final = {STEP: "train", "evaluate": "eval"}
"""As Hugging Face's Trainer calls them; other kinds keep their names."""


def readings(event: Event) -> dict[str, float]:
    """`{"train/loss": 2.1, ...}`; empty where an event holds no numbers that are worth a curve.

    A phase is part of the name, as in `checkpoint/committed_seconds`, and so are ranks but the first.
    """
    kind = event["kind"]
    if kind in _LEFT_OUT:
        return {}
    group = _GROUPS.get(kind, kind)
    if event.get("rank", 0) > 0:
        group = f"{group}/rank-{event['rank']}"
    phase = f"{event['phase']}_" if isinstance(event.get("phase"), str) else ""
    return {
        f"{group}/{phase}{name.removeprefix('eval_')}": float(value)
        for name, value in event.items()
        if name not in _ABOUT_THE_EVENT and _is_number(value)
    }


def source(event: Event) -> str:
    """Who counts steps of its own: each kind of event on each rank."""
    return f"{event['kind']}/{event.get('rank', 0)}"


def flattened(values: Mapping[str, Any]) -> dict[str, bool | str | float | int]:
    """Values of nested tables by dotted key, as trackers take the configuration of a run."""
    flat: dict[str, bool | str | float | int] = {}
    _flatten(values, "", flat)
    return flat


def _flatten(value: Any, key: str, flat: dict[str, bool | str | float | int]) -> None:
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping):
        for name, child in value.items():
            _flatten(child, f"{prefix}{name}", flat)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            _flatten(child, f"{prefix}{number}", flat)
    elif isinstance(value, bool | str | int | float):
        flat[key] = value


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)
