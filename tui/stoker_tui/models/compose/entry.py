"""What a user types into a field, as the value that goes into the recipe; and the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import tomli

from stoker.recipe.words import describe, one_of, toml_text
from stoker_tui.models.compose.kinds import Field

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "table": (dict,),
    "rows": (list,),
    "array": (list,),
}


def shown_text(value: Any) -> str:
    """A value as it is edited: text without its quotes, everything else as TOML; "" for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else toml_text(value)


def parse_entry(field: Field, text: str) -> Any:
    """The value that `text` stands for in a field.

    Raises `ValueError`, in words for the user, where it is of another kind. Whether the value is legal
    is for `check` to say. `env:NAME` is a value of every kind.
    """
    text = text.strip()
    if _REFERENCE.fullmatch(text):
        return text
    if field.kind == "mixed":
        return _parse_mixed(field, text)
    if field.kind == "choice":
        return _parse_choice(field, text)
    if field.kind not in _TYPES:
        return text
    value, types = _as_toml(text), _TYPES[field.kind]
    if isinstance(value, types) and (bool in types or not isinstance(value, bool)):
        return value
    if field.kind == "array" and field.item is not None:
        parts = text.removeprefix("[").removesuffix("]").split(",")
        return [parse_entry(field.item, part) for part in parts if part.strip()]
    found = f"found {describe(value)}, " if value is not None else ""
    raise ValueError(f"{found}expected {field.type or field.kind}.")


def _parse_mixed(field: Field, text: str) -> Any:
    """By the first kind that takes the text: arrays go last, every text could be one of one item."""
    ordered = sorted(field.alternatives, key=lambda each: each.kind == "array")
    for alternative in ordered:
        try:
            return parse_entry(alternative, text)
        except ValueError:
            continue
    raise ValueError(f"expected {field.type}.")


def _parse_choice(field: Field, text: str) -> Any:
    for choice in field.choices:
        if text in (shown_text(choice), toml_text(choice)):
            return choice
    raise ValueError(f"expected {one_of(map(shown_text, field.choices))}.")


def _as_toml(text: str) -> Any:
    """The value that a text is in TOML; None where it is none."""
    try:
        parsed: Mapping[str, Any] = tomli.loads(f"value = {text}")
    except (tomli.TOMLDecodeError, RecursionError):
        return None
    return parsed["value"] if len(parsed) == 1 else None
