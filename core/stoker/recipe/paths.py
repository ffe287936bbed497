"""What `path` stands for: a local path, a name that a plugin provides, or an id on the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from stoker.data.readers import DATA_SUFFIXES
from stoker.errors import UsageError
from stoker.recipe import chat_template
from stoker.recipe.environment import VARIABLES, find_references, with_values
from stoker.recipe.plugin_tables import PluginClass, is_path_option
from stoker.registry import load_plugin_class

PathKind = Literal["local", "plugin", "hub", "unclear"]

_PLUGIN_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*):(?!//).+", re.DOTALL)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)


def plugin_of(path: str) -> str | None:
    """`demo` of `demo:docstrings`; None for everything else, `env:NAME` among it."""
    match = _PLUGIN_NAME.fullmatch(path)
    return match[1] if match and match[1] != VARIABLES else None


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


def resolve_paths(
    tables: dict[str, Any],
    classes: Mapping[str, PluginClass],
    folder_of: Callable[[str], Path | None],
) -> None:
    """Make local paths absolute, in place: relative to `folder_of(key)`, None to leave a path alone."""
    for table, name, key in _path_places(tables, classes):
        text, folder = table[name], folder_of(key)
        if not isinstance(text, str) or folder is None:
            continue
        if key.startswith("plugins.") or looks_local(text, folder):
            table[name] = os.path.normpath(folder / os.path.expanduser(text))


def insert_values(tables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Resolved tables with the values of environment variables; and the references, by dotted key.

    A relative path from a variable is relative to the current folder. Raises `PluginError` for a
    plugin whose table has references and that does not load, `UsageError` for a chat template that a
    variable names and that is not there.
    """
    references = find_references(tables)
    used = with_values(tables, references)
    plugins = dict.fromkeys(key.split(".")[1] for key in references if key.startswith("plugins."))
    classes = {name: load_plugin_class(name) for name in plugins}
    resolve_paths(used, classes, lambda key: Path.cwd() if key in references else None)
    if chat_template.KEY in references:
        for problem in chat_template.insert_template(used, lambda key: Path.cwd()):
            raise UsageError(f"{problem.key}: {problem.message}", hint=problem.hint)
    return used, references


def _path_places(
    tables: dict[str, Any], classes: Mapping[str, PluginClass]
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """(table, key in it, dotted key) of everything that may be a path; tables are copied first."""
    model = _own_copy(tables, "model")
    if "path" in model:
        yield model, "path", "model.path"
    data = _own_copy(tables, "data")
    for name in ("train", "eval"):
        rows = data.get(name)
        if isinstance(rows, list):
            data[name] = [dict(row) if isinstance(row, Mapping) else row for row in rows]
            for number, row in enumerate(data[name]):
                if isinstance(row, dict) and "path" in row:
                    yield row, "path", f"data.{name}.{number}.path"
    plugins = _own_copy(tables, "plugins") if classes else {}
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
