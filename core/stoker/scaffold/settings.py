"""Puts values with their reasons into a recipe's text, beside the comments that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import AbstractTable

from stoker.recipe.words import toml_text

COMMENT_COLUMN = 30


@dataclass(frozen=True)
class Setting:
    """A value for a key, and why: the comment behind it."""

    key: str
    """Dotted: `train.batch_size`; `plugins.NAME.` for a table without options."""
    value: Any
    """None takes the key out."""
    why: str = ""


def put_settings(document: TOMLDocument, settings: Iterable[Setting]) -> str:
    """The text of a recipe with `settings`; tables that it does not have come last.

    A comment behind a key that is set was about another value: `why` takes its place. Where the value is
    the same and there is no `why`, it stays.
    """
    missing: dict[str, list[Setting]] = {}
    for setting in settings:
        name, _, key = setting.key.rpartition(".")
        table = _table(document, name)
        if table is None:
            missing.setdefault(name, []).append(setting)
        elif setting.value is None:
            table.pop(key, None)
        elif setting.why or table.get(key) != setting.value:
            _put(table, key, setting)
    text = document.as_string().rstrip("\n") + "\n"
    for name, rows in missing.items():
        lines = (_line(row) for row in rows if row.value is not None)
        text += "\n".join(["", f"[{name}]", *lines]) + "\n"
    return text


def plugin_settings(tables: Mapping[str, Mapping[str, Any]]) -> list[Setting]:
    """Settings of plugin tables."""
    return [
        Setting(f"plugins.{name}.{key}", value)
        for name, table in tables.items()
        for key, value in (table or {"": None}).items()
    ]


def _table(document: TOMLDocument, name: str) -> AbstractTable | None:
    found: Any = document
    for part in name.split("."):
        found = found.get(part)
        if not isinstance(found, AbstractTable):
            return None
    return found  # type: ignore[no-any-return]


def _put(table: AbstractTable, key: str, setting: Setting) -> None:
    if key not in table:
        _insert(table, setting)
        return
    table[key] = tomlkit.value(toml_text(setting.value))
    trivia = table[key].trivia
    trivia.trail = "\n"
    trivia.comment_ws, trivia.comment = "", ""
    if setting.why:
        trivia.comment_ws = _gap(f"{key} = {table[key].as_string()}")
        trivia.comment = f"# {setting.why}"


def _insert(table: AbstractTable, setting: Setting) -> None:
    """After the last key: tomlkit would add it after the comments at the table's end."""
    last = [item for key, item in table.value.body if key is not None][-1]
    last.trivia.trail += f"{_line(setting)}\n"


def _line(setting: Setting) -> str:
    line = f"{setting.key.rpartition('.')[2]} = {toml_text(setting.value)}"
    return f"{line}{_gap(line)}# {setting.why}" if setting.why else line


def _gap(text: str) -> str:
    return " " * max(2, COMMENT_COLUMN - len(text))
