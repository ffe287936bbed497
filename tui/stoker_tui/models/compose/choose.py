"""What a row of `plan --compare` stands for, as changes of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.recipe.draft import ENABLED
from stoker.recipe.json_schema import schema_at
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.kinds import Schema

Change = dict[str, Any]
"""In the shape of `fix` in `check --json`."""
Row = Mapping[str, Any]

PLACEHOLDER = "{folder}"


def changes(document: Document, row: Row, schema: Schema) -> Iterator[Change]:
    """Only what differs from what the recipe says already; defaults are not written.

    What only the author can fill in, such as a folder on a fast disk, is left out: `check` asks for it.
    """
    wanted = row["changes"]
    for table in ("train", "launch"):
        for key, value in wanted[table].items():
            yield from _value(document, schema, f"{table}.{key}", value)
    plugins: Mapping[str, Mapping[str, Any]] = wanted["plugins"]
    for name in _switched_on(document):
        if name not in plugins:
            yield {"action": "switch_off", "key": f"plugins.{name}"}
    for name, options in plugins.items():
        if document.is_on(name):
            yield from _options(document, schema, name, options)
        else:
            yield from _new_plugin(document, name, options)


def _switched_on(document: Document) -> list[str]:
    tables = document.stated("plugins").value
    return [name for name in tables if document.is_on(name)] if isinstance(tables, Mapping) else []


def _new_plugin(document: Document, name: str, options: Mapping[str, Any]) -> Iterator[Change]:
    """What makes the strategy is written down even where it is the default today."""
    key = f"plugins.{name}"
    yield {"action": "switch_on", "key": key}
    for option in _own(document, key):
        if option not in options:
            yield {"action": "unset", "key": f"{key}.{option}"}
    for option, value in options.items():
        if value not in (None, PLACEHOLDER):
            yield {"action": "set", "key": f"{key}.{option}", "value": value}


def _own(document: Document, key: str) -> list[str]:
    """Options that stand in the recipe's own table of a plugin that is off."""
    table = document.stated(key).value
    names = table if isinstance(table, Mapping) else ()
    return [name for name in names if name != ENABLED and document.stated(f"{key}.{name}").is_own]


def _options(
    document: Document, schema: Schema, name: str, options: Mapping[str, Any]
) -> Iterator[Change]:
    table = document.stated(f"plugins.{name}").value
    stated = table if isinstance(table, Mapping) else {}
    for key in stated:
        if key != ENABLED and key not in options:
            yield from _taken_out(document, schema, f"plugins.{name}.{key}")
    for key, value in options.items():
        if value != PLACEHOLDER:
            yield from _value(document, schema, f"plugins.{name}.{key}", value)


def _value(document: Document, schema: Schema, key: str, value: Any) -> Iterator[Change]:
    stated = document.stated(key)
    default = (schema_at(schema, key) or {}).get("default")
    current = default if stated.value is None else stated.value
    if current == value:
        return
    if value == default and stated.is_own and not _is_below(document, key):
        yield {"action": "unset", "key": key}
    elif value is not None:
        yield {"action": "set", "key": key, "value": value}
    elif stated.is_own:
        yield {"action": "unset", "key": key}


def _taken_out(document: Document, schema: Schema, key: str) -> Iterator[Change]:
    """An option that the strategy does without; what a base recipe says takes its default."""
    default = (schema_at(schema, key) or {}).get("default")
    if not _is_below(document, key):
        yield {"action": "unset", "key": key}
    elif default is not None:
        yield {"action": "set", "key": key, "value": default}


def _is_below(document: Document, key: str) -> bool:
    """Whether a base recipe states the key too."""
    draft = document.draft
    return draft is not None and any(key in layer.positions for layer in draft.layers[:-1])
