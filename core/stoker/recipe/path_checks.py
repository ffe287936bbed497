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
from stoker.recipe.paths import kind_of, plugin_of
from stoker.recipe.problems import Problem, did_you_mean
from stoker.recipe.words import shorten

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
            yield Problem(key=f"{key}.format", message=message, hint=f"Add format = {_FORMATS}.")


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
        nearest = did_you_mean(plugin, plugins)
        hint = (
            nearest
            or f"Add the table; if it is there, plugins.{shorten(plugin)}.enabled must not be false."
        )
        yield Problem(
            key=key, message=f"{shorten(path)!r} needs a [plugins.{shorten(plugin)}] table.", hint=hint
        )


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
        nearest = did_you_mean(path.name, _names_in(path.parent))
        hint = nearest or "Relative paths are relative to the recipe, and with --set to where you are."
        yield Problem(key=key, message=f"{path} does not exist.", hint=hint)
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
