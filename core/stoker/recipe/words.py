"""Values and types in TOML's words, which are the ones a recipe's author knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_LONGEST_SHOWN = 40
_JSON_SCHEMA_WORDS = {
    "integer": "integer",
    "number": "float",
    "string": "string",
    "boolean": "boolean",
    "object": "table",
}


def type_word(value: Any) -> str:
    """TOML's name of a value's type: table, array, string, integer, float, boolean, date-time."""
    # A bool is an int to Python, and only to Python.
    if isinstance(value, bool):
        return "boolean"
    words: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (Mapping, "table"),
        (list, "array"),
        (str, "string"),
        (int, "integer"),
        (float, "float"),
        ((datetime, date, time), "date-time"),
    )
    return next((word for types, word in words if isinstance(value, types)), type(value).__name__)


def with_article(word: str) -> str:
    """`an array`, `a table`."""
    return f"{'an' if word[:1] in 'aei' else 'a'} {word}"


def key_text(name: str) -> str:
    """A key as TOML writes it, quoted where it must be."""
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name)


def toml_text(value: Any) -> str:
    """A value as it could stand in a recipe, without the quotes of Python."""
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return (
            "{ "
            + ", ".join(f"{key_text(key)} = {toml_text(item)}" for key, item in value.items())
            + " }"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_text(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def describe(value: Any) -> str:
    """`the string "8"`, `the integer 3`, `a table`: what was found."""
    word = type_word(value)
    if word in ("table", "array"):
        return with_article(word)
    text = toml_text(value)
    return f"the {word} {shorten(text)}"


def shorten(text: str) -> str:
    """At most some forty characters, the rest as dots."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def one_of(choices: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def schema_words(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    """The type that a JSON schema describes: `integer`, `string or array of string`, `"a" or "b"`.

    `definitions` are the schema's `$defs`.
    """
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return schema_words((definitions or {}).get(name, {}), definitions)
    if "enum" in schema:
        return one_of(toml_text(value) for value in schema["enum"])
    if "const" in schema:
        return toml_text(schema["const"])
    if "anyOf" in schema:
        # None is how a default says "not set"; nobody can write it in TOML.
        parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
        return one_of(dict.fromkeys(schema_words(part, definitions) for part in parts))
    if schema.get("type") == "array":
        items = schema_words(schema["items"], definitions) if schema.get("items") else ""
        return f"array of {items}" if items else "array"
    return _JSON_SCHEMA_WORDS.get(str(schema.get("type", "object")), "value")
