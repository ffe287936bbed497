"""The installed plugins, and what the recipe in front does with each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import tomli

from stoker.cli.plugins import list_plugins
from stoker.run.lines import clean
from stoker_tui.models.session import Session

State = Literal["on", "off", "unnamed", "broken", "missing"]

SIGNS: Final[dict[State, str]] = {
    "on": "● on",
    "off": "○ off",
    "unnamed": "  -",
    "broken": "✗ fails",
    "missing": "✗ missing",
}


@dataclass(frozen=True)
class RecipeText:
    """The recipe that plugins are looked at with."""

    title: str
    text: str
    path: Path | None
    """The file that relative paths in it count from."""


@dataclass(frozen=True)
class PluginRow:
    """One plugin."""

    name: str
    version: str
    distribution: str
    summary: str
    state: State
    failure: str = ""
    """Why it cannot be imported."""


def recipe_in_front(session: Session) -> RecipeText | None:
    """What Compose edits, else the recipe or the run that was opened; None without any."""
    if session.draft is not None:
        document = session.draft.document
        return RecipeText(session.draft.title, document.text, document.path)
    if session.recipe is not None:
        return _read(session.recipe, session.recipe.name, session.recipe)
    if session.run is None:
        return None
    place = _launched_from(session.run.lock_path)
    return _read(session.run.recipe_path, f"the recipe of {clean(session.run.name)}", place)


def _read(path: Path, title: str, place: Path | None) -> RecipeText | None:
    try:
        return RecipeText(title, path.read_text("utf-8"), place)
    except (OSError, ValueError):
        return None


def _launched_from(lock_path: Path) -> Path | None:
    """Where a run's recipe was: paths of data count from there."""
    try:
        return Path(json.loads(lock_path.read_text("utf-8"))["recipe_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def plugin_tables(recipe: RecipeText | None) -> dict[str, bool] | None:
    """Plugins that a recipe names, and whether they are on; None where it cannot be read."""
    if recipe is None:
        return None
    try:
        tables = tomli.loads(recipe.text).get("plugins", {})
    except tomli.TOMLDecodeError:
        return None
    if not isinstance(tables, dict):
        return None
    return {
        name: not isinstance(table, dict) or table.get("enabled", True) is not False
        for name, table in tables.items()
    }


def plugin_rows(
    installed: list[dict[str, str]], named: Mapping[str, bool] | None, failures: Mapping[str, str]
) -> list[PluginRow]:
    """Those of the recipe first, each group by name."""
    rows = [_row(each, named or {}, failures) for each in installed]
    there = {row.name for row in rows}
    rows += [
        PluginRow(name, "", "", "named in the recipe, not installed", "missing")
        for name in (named or {})
        if name not in there
    ]
    order: tuple[State, ...] = ("missing", "broken", "on", "off", "unnamed")
    return sorted(rows, key=lambda row: (order.index(row.state), row.name))


def read_installed() -> list[dict[str, str]]:
    """From the metadata of distributions; no plugin is imported."""
    return list_plugins()


def totals(rows: list[PluginRow]) -> str:
    """`17 installed, 3 on, 1 off, 1 fails`."""
    states = [row.state for row in rows]
    parts = [f"{len(rows) - states.count('missing')} installed"]
    words: tuple[tuple[State, str], ...] = (
        ("on", "on"),
        ("off", "off"),
        ("broken", "cannot be imported"),
        ("missing", "missing"),
    )
    parts += [f"{states.count(state)} {word}" for state, word in words if state in states]
    return ", ".join(parts)


def _row(each: Mapping[str, str], named: Mapping[str, bool], failures: Mapping[str, str]) -> PluginRow:
    name = each["name"]
    state: State = "unnamed"
    if name in failures:
        state = "broken"
    elif name in named:
        state = "on" if named[name] else "off"
    return PluginRow(
        name, each["version"], each["distribution"], each["summary"], state, failures.get(name, "")
    )
