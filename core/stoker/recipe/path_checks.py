"""Checks of `model.path` and of the data sources: files that exist, names that plugins provide.

They look at tables that need not be valid, so that a missing file is reported together with a
misspelt key. They look at this machine's files only, never at the network.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker.data.files import walk_files
from stoker.data.problems import DataError
from stoker.data.readers import DATA_SUFFIXES
from stoker.errors import StokerError
from stoker.recipe.paths import kind_of, plugin_of
from stoker.recipe.problems import Fix, Problem, did_you_mean, nearest
from stoker.recipe.words import shorten
from stoker.registry import installed_plugins

_FORMATS = "text, completion, alpaca, messages or sharegpt"


def path_problems(tables: Mapping[str, Any], plugins: Collection[str]) -> Iterator[Problem]:
    """What is wrong with the paths of a recipe; local ones are absolute by now.

    `plugins` are the names of those switched on.
    """
    for key, table in _tables_with_paths(tables):
        path, is_model = str(table["path"]), key == "model"
        kind = kind_of(path)
        if kind == "plugin":
            yield from _plugin_problems(f"{key}.path", path, plugins)
        elif kind == "unclear":
            yield Problem(
                key=f"{key}.path",
                message=f"{shorten(path)!r} is no path that exists, no id on the hub and no plugin's "
                "name.",
                hint="Paths are relative to the recipe; begin them with ./ or ../ to be clear.",
            )
        elif kind == "local":
            yield from (_model_problems if is_model else _data_problems)(f"{key}.path", Path(path))
        if kind != "plugin" and not is_model and "format" not in table:
            message = "the key 'format' is missing; only a plugin's source knows its own."
            fix = format_fix(key, path)
            yield Problem(
                key=f"{key}.format", message=message, hint=f"Add format = {_FORMATS}.", fix=fix
            )


def _tables_with_paths(tables: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted key, table) of the model and of each data source that states a path."""
    found: dict[str, Any] = {"model": tables.get("model")}
    data = tables.get("data")
    for name in ("train", "eval"):
        rows = data.get(name) if isinstance(data, Mapping) else None
        for number, row in enumerate(rows if isinstance(rows, list) else []):
            found[f"data.{name}.{number}"] = row
    for key, table in found.items():
        if isinstance(table, Mapping) and isinstance(table.get("path"), str) and table["path"]:
            yield key, table


def _plugin_problems(key: str, path: str, plugins: Collection[str]) -> Iterator[Problem]:
    plugin = plugin_of(path)
    if plugin and plugin not in plugins:
        hint = (
            did_you_mean(plugin, plugins)
            or f"Add the table; if it is there, plugins.{shorten(plugin)}.enabled must not be false."
        )
        message = f"{shorten(path)!r} needs a [plugins.{shorten(plugin)}] table."
        yield Problem(key=key, message=message, hint=hint, fix=_provider_fix(key, path, plugin, plugins))


def _provider_fix(key: str, path: str, plugin: str, plugins: Collection[str]) -> Fix | None:
    """The plugin is switched on where it is installed, else its name may be misspelt."""
    if plugin in installed_plugins():
        return Fix(action="switch_on", key=f"plugins.{plugin}")
    near = nearest(plugin, plugins)
    return Fix(action="set", key=key, value=near + path.removeprefix(plugin)) if near else None


def format_fix(key: str, path: str, stated: str | None = None) -> Fix | None:
    """The format that the first row of a local source has, where that is another than the stated one."""
    from stoker.scaffold.guess import guess_format  # which looks into files

    if not os.path.isabs(path):
        return None
    try:
        found = guess_format(Path(path))
    except StokerError:
        return None
    return None if found == stated else Fix(action="set", key=f"{key}.format", value=found)


def _model_problems(key: str, path: Path) -> Iterator[Problem]:
    if not os.path.isdir(path):
        word = "is a file, expected a directory" if os.path.exists(path) else "does not exist"
        hint = "Expected a directory with config.json, a hub id, or a plugin's name."
        yield Problem(key=key, message=f"{path} {word}.", hint=hint)
    elif not os.path.isfile(path / "config.json"):
        is_adapter = os.path.isfile(path / "adapter_config.json")
        hint = "It is an adapter; name the base model." if is_adapter else "Is it a model's directory?"
        yield Problem(key=key, message=f"{path} has no config.json.", hint=hint)


def _data_problems(key: str, path: Path) -> Iterator[Problem]:
    suffixes = ", ".join(DATA_SUFFIXES)
    if os.path.isdir(path):
        try:
            if not any(file.suffix.lower() in DATA_SUFFIXES for file in walk_files(path)):
                yield Problem(key=key, message=f"{path} has no data file ({suffixes}).")
        except DataError as error:
            yield Problem(key=key, message=error.message, hint=error.hint)
    elif not os.path.exists(path):
        near = nearest(path.name, _names_in(path.parent))
        about = "Relative paths are relative to the recipe, and with --set to where you are."
        hint = f"Did you mean {near!r}?" if near else about
        fix = Fix(action="set", key=key, value=str(path.with_name(near))) if near else None
        yield Problem(key=key, message=f"{path} does not exist.", hint=hint, fix=fix)
    elif path.suffix.lower() not in DATA_SUFFIXES:
        yield Problem(key=key, message=f"{path} is no data file; their names end in {suffixes}.")
    elif not os.path.isfile(path):
        yield Problem(key=key, message=f"{path} is neither a file nor a directory.")
    elif not os.access(path, os.R_OK):
        yield Problem(key=key, message=f"{path} cannot be read.", hint="Check its permissions.")
    elif os.path.getsize(path) == 0:
        yield Problem(key=key, message=f"{path} is empty.")


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []
