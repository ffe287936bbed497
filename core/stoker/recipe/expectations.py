"""What a validation error of pydantic says was expected, in TOML's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from stoker.recipe.words import one_of, with_article

_TYPE_WORDS = {
    "int": "integer",
    "float": "float",
    "decimal": "float",
    "string": "string",
    "path": "string",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "dict": "table",
    "mapping": "table",
    "model": "table",
    "datetime": "date-time",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("of at most", "le"),
}


def expectation(error: ErrorDetails) -> str:
    """What one error says was expected."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"a number {words} {context[key]:g}"
    if kind == "literal_error":
        return str(context["expected"]).replace("'", '"')
    if kind == "string_pattern_mismatch":
        return f"a string that matches {context['pattern']}"
    if kind in ("too_short", "too_long"):
        return _size(context, "item")
    if kind in ("string_too_short", "string_too_long"):
        return _size(context, "character")
    word = _TYPE_WORDS.get(kind.partition("_")[0])
    if word and kind.endswith(("_type", "_parsing", "_from_float")):
        return with_article(word)
    return f"something else ({error['msg']})"


def examples_of(field: FieldInfo | None) -> str:
    """`a string like "10 min" or "auto"`; empty where a field gives no examples."""
    if field is None or not field.examples:
        return ""
    return f"a string like {one_of(json.dumps(example) for example in field.examples)}"


def _size(context: Mapping[str, Any], unit: str) -> str:
    least = "min_length" in context
    words, number = ("at least", context["min_length"]) if least else ("at most", context["max_length"])
    return f"{words} {number} {unit}{'' if number == 1 else 's'}"
