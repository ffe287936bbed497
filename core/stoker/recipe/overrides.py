"""`--set KEY=VALUE`: one value of a recipe, given on the command line.

The value is read as TOML, and is a string where it is no TOML. Items of arrays are keys too, counted
from 0: `data.train.0.weight=2.0`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import tomli

from stoker.recipe.layers import MAX_DEPTH, depth
from stoker.recipe.problems import Problem
from stoker.recipe.words import describe, shorten, type_word, with_article

OVERRIDE = "--set"
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def read_override(override: str) -> tuple[str, Any] | Problem:
    """The dotted key and the value, or what is wrong with the text."""
    key, equals, text = override.partition("=")
    key, value = key.strip(), _parse_value(text)
    if not equals or not _KEY.fullmatch(key) or key.count(".") + depth(value) > MAX_DEPTH:
        message = f"found {shorten(override)!r}, expected KEY=VALUE, such as train.steps=10."
        return Problem(key="", message=message, file=OVERRIDE)
    return key, value


def _parse_value(text: str) -> Any:
    """The value as TOML, or the text itself where it is none."""
    try:
        parsed = tomli.loads(f"value = {text}")
    except (tomli.TOMLDecodeError, RecursionError):
        return text.strip()
    # A text with line breaks could state further keys.
    return parsed["value"] if len(parsed) == 1 else text.strip()


def set_value(tables: dict[str, Any], key: str, value: Any) -> Problem | None:
    """Set a value in nested tables, making tables that are missing. Returns what is in the way."""
    *path, name = key.split(".")
    obstacle = _set_at(tables, path, name, value)
    return Problem(key=key, message=obstacle, file=OVERRIDE) if obstacle else None


def _set_at(tables: dict[str, Any], path: Sequence[str], name: str, value: Any) -> str:
    place: Any = tables
    for number, part in enumerate(path):
        if isinstance(place, dict):
            # A copy: the tables below belong to the layers.
            place[part] = _copy(place.get(part, {}))
            place = place[part]
        elif isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place[int(part)] = _copy(place[int(part)])
            place = place[int(part)]
        else:
            return _in_the_way(path[:number], place, part)
    if isinstance(place, dict):
        place[name] = value
    elif isinstance(place, list) and name.isdigit() and int(name) < len(place):
        place[int(name)] = value
    else:
        return _in_the_way(path, place, name)
    return ""


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list)) else value


def _in_the_way(path: Sequence[str], place: Any, name: str) -> str:
    key = ".".join(path)
    if isinstance(place, list):
        return f"{key} is an array of {len(place)}, counted from 0; it has no item {name!r}."
    if type_word(place) in ("string", "integer", "float", "boolean"):
        return f"{key} is {describe(place)}, not a table."
    return f"{key} is {with_article(type_word(place))}, not a table."
