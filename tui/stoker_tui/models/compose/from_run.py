"""The recipe of a run, to begin another one with: its text, with what it was started with put in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.recipe.draft import leaves
from stoker.recipe.layers import EXTENDS
from stoker.recipe.overrides import OVERRIDE
from stoker.run.directory import RunDirectory
from stoker_tui.models.compose import plain
from stoker_tui.models.compose.document import Document, EditError
from stoker_tui.models.compose.files import read_file


def document_of_run(run: RunDirectory, folder: Path) -> Document:
    """A document that will be saved in `folder`.

    Values of `--set` are written into it, and paths that were relative to the recipe of the run are
    written as seen from `folder`. Raises `UsageError` for a run whose recipe cannot be read.
    """
    document = Document(read_file(run.recipe_path), source=f"run {run.name}")
    lock = _read_lock(run.lock_path)
    edits = [*_overridden(lock), *_moved_paths(document, lock, folder)]
    for key, value in edits:
        try:
            document.set(key, value)
        except EditError:
            continue  # `check` will say what is wrong there
    return Document(document.text, source=document.source)


def _read_lock(path: Path) -> Mapping[str, Any]:
    """What was resolved at the launch; nothing where that cannot be read."""
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return lock if isinstance(lock, dict) else {}


def _overridden(lock: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Values of `--set`; of an array the whole of it."""
    found: dict[str, Any] = {}
    values = lock.get("values", {})
    for key, origin in lock.get("origins", {}).items():
        if origin == OVERRIDE:
            parts = key.split(".")
            array = next((place for place, part in enumerate(parts) if part.isdigit()), len(parts))
            name = ".".join(parts[:array])
            value = _without_nulls(plain.at(values, tuple(parts[:array])))
            if value is not None:
                found[name] = value
    return list(found.items())


def _moved_paths(document: Document, lock: Mapping[str, Any], folder: Path) -> list[tuple[str, Any]]:
    """Paths that the lock has as absolute ones and the text does not."""
    moved: list[tuple[str, Any]] = []
    before = Path(lock.get("recipe_path", "")).parent
    for key, text in leaves(document.tables):
        locked = plain.at(lock.get("values", {}), tuple(key.split(".")))
        if key == EXTENDS and isinstance(text, str):
            locked = os.path.normpath(before / text)
        is_path = isinstance(text, str) and isinstance(locked, str) and os.path.isabs(locked)
        if is_path and text != locked and not text.startswith(("env:", "~")):
            moved.append((key, os.path.relpath(locked, folder.absolute())))
    return moved


def _without_nulls(value: Any) -> Any:
    """TOML has no null: what is not set is not written."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
