"""Values in nested tables and arrays, by path: what an edit of a text should come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli

Path = tuple[str, ...]


def at(data: Any, path: Path) -> Any:
    """The value of a path; None where there is none."""
    for part in path:
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data


def with_value(data: Any, path: Path, value: Any) -> Any:
    """A copy with a value at a path; tables that are missing are made."""
    if not path:
        return value
    name, *rest = path
    if isinstance(data, list):
        place = int(name)
        return [
            with_value(each, tuple(rest), value) if i == place else each for i, each in enumerate(data)
        ]
    inside = data.get(name, {})
    return {**data, name: with_value(inside, tuple(rest), value)}


def without(data: Any, path: Path) -> Any:
    """A copy without what is at a path."""
    name, *rest = path
    if isinstance(data, list):
        place = int(name)
        if not rest:
            return [each for i, each in enumerate(data) if i != place]
        return [without(each, tuple(rest)) if i == place else each for i, each in enumerate(data)]
    if not isinstance(data, Mapping) or name not in data:
        return data
    if not rest:
        return {key: each for key, each in data.items() if key != name}
    return {**data, name: without(data[name], tuple(rest))}


def same(one: Any, other: Any) -> bool:
    """Whether two tables say the same; one that is empty is as good as none."""
    mine, theirs = _pruned(one), _pruned(other)
    return bool(mine == theirs and _typed(mine) == _typed(theirs))


def means(written: str, value: Any) -> bool:
    """Whether a text is a way to write a value."""
    try:
        parsed = tomli.loads(f"value = {written}")
    except tomli.TOMLDecodeError:
        return False
    return "\n" not in written and parsed == {"value": value} and type(parsed["value"]) is type(value)


def _pruned(value: Any) -> Any:
    """Without empty tables and arrays: whether they are written depends on how their keys are."""
    if isinstance(value, Mapping):
        pruned = {key: _pruned(each) for key, each in value.items()}
        return {key: each for key, each in pruned.items() if each not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(each) for each in value]
    return value


def _typed(value: Any) -> Any:
    """Types of the leaves: 1, 1.0 and true are equal to Python only."""
    if isinstance(value, Mapping):
        return {key: _typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    return type(value)
