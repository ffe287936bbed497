"""What a recipe's keys come to with the recipes below it, and who stated each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomli

from stoker.errors import RecipeError
from stoker.recipe.draft import Draft, make_draft
from stoker.recipe.layers import EXTENDS, Layer, read_layers
from stoker.recipe.positions import Positions
from stoker_tui.models.compose import plain

UNNAMED = "recipe.toml"
"""What a recipe is called before it has a name."""


class Stated(NamedTuple):
    """The value of a key."""

    value: Any
    """None where nobody states it."""
    origin: str
    """`default`, `plugin:lora`, `base.toml:12` or `--set`."""
    is_own: bool
    """Whether the recipe itself states it, and no override takes its place."""


def named(path: Path | None) -> Path:
    """The path of a recipe, also of one without a name: relative paths belong to its folder."""
    return Path(UNNAMED) if path is None else path


def read_draft(text: str, path: Path | None, overrides: Sequence[str]) -> Draft | None:
    """The merged layers; the recipe alone where its base cannot be read, None where it is no TOML."""
    path = named(path)
    try:
        layers = read_layers(path, text)
    except RecipeError:
        try:
            layers = [Layer(path, path.name, text, tomli.loads(text), Positions(text))]
        except (tomli.TOMLDecodeError, RecursionError):
            return None
    return make_draft(layers, overrides)


def stated(draft: Draft | None, key: str) -> Stated:
    """What a draft says of a dotted key."""
    if draft is None:
        return Stated(None, "default", False)
    if key == EXTENDS:
        return _base(draft.recipe)
    value = plain.at(draft.tables, tuple(key.split(".")))
    is_own = draft.stated_by(key) is draft.recipe
    return Stated(value, draft.origin(key), is_own)


def _base(recipe: Layer) -> Stated:
    """What a recipe extends is about its file, and not merged with those below."""
    place = recipe.positions.value(EXTENDS)
    if place is None:
        return Stated(None, "default", False)
    return Stated(recipe.tables[EXTENDS], f"{recipe.label}:{place.line}", True)


def rows_of_base(draft: Draft, key: str) -> list[Any]:
    """The rows of an array as the recipe itself would state them: paths as seen from its own folder."""
    folder, own = draft.folder_of(key), draft.recipe.folder
    rows = plain.at(draft.tables, tuple(key.split(".")))
    return [_moved(row, folder, own) for row in rows]


def _moved(row: Any, folder: Path, own: Path) -> Any:
    path = row.get("path") if isinstance(row, dict) else None
    if folder == own or not isinstance(path, str) or not (folder / path).exists():
        return row
    return {**row, "path": os.path.relpath(folder / path, own)}
