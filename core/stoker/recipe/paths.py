"""What `path` stands for: a local path, a name that a plugin provides, or an id on the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from stoker.data.readers import DATA_SUFFIXES
from stoker.recipe.draft import Draft
from stoker.recipe.plugin_tables import PluginClass, is_path_option

PathKind = Literal["local", "plugin", "hub", "unclear"]

_PLUGIN_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):(?!//).+", re.DOTALL)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)


def plugin_of(path: str) -> str | None:
    """`demo` of `demo:docstrings`; None for everything else."""
    match = _PLUGIN_NAME.fullmatch(path)
    return match[1] if match else None


def kind_of(path: str) -> PathKind:
    """What a resolved path stands for: local ones are absolute by then."""
    if os.path.isabs(path):
        return "local"
    if plugin_of(path):
        return "plugin"
    return "hub" if _HUB_ID.fullmatch(path) else "unclear"


def looks_local(path: str, folder: Path) -> bool:
    """True for what is written as a path, ends like a data file, or is there, seen from `folder`."""
    if path.startswith(("./", "../", "/", "~")) or path in (".", ".."):
        return True
    if plugin_of(path) or not path:
        return False
    return path.lower().endswith(DATA_SUFFIXES) or os.path.exists(folder / path)


def resolve_paths(draft: Draft, classes: Mapping[str, PluginClass]) -> None:
    """Make local paths absolute, in place: relative to the file that states them.

    Paths given with `--set` are relative to where stoker is called.
    """
    for table, name, key in _path_places(draft, classes):
        text = table[name]
        layer = draft.stated_by(key)
        folder = layer.folder if layer else Path.cwd()
        if isinstance(text, str) and (key.startswith("plugins.") or looks_local(text, folder)):
            table[name] = os.path.normpath(folder / os.path.expanduser(text))


def _path_places(
    draft: Draft, classes: Mapping[str, PluginClass]
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(table, key in it, dotted key) of everything that may be a path; tables are copied first."""
    model = _own_copy(draft.tables, "model")
    if "path" in model:
        yield model, "path", "model.path"
    data = _own_copy(draft.tables, "data")
    for name in ("train", "eval"):
        rows = data.get(name)
        if isinstance(rows, list):
            data[name] = [dict(row) if isinstance(row, Mapping) else row for row in rows]
            for number, row in enumerate(data[name]):
                if isinstance(row, dict) and "path" in row:
                    yield row, "path", f"data.{name}.{number}.path"
    plugins = _own_copy(draft.tables, "plugins") if classes else {}
    for name, plugin_class in classes.items():
        options = _own_copy(plugins, name)
        for option in options:
            if is_path_option(plugin_class.Config, option):
                yield options, option, f"plugins.{name}.{option}"


def _own_copy(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name)
    if not isinstance(table, Mapping):
        return {}
    tables[name] = dict(table)
    copied: dict[str, Any] = tables[name]
    return copied
