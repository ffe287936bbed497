"""A recipe before it is validated: its layers merged, and for each value who stated it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stoker.recipe.layers import EXTENDS, Layer
from stoker.recipe.overrides import OVERRIDE, read_override, set_value
from stoker.recipe.problems import Fix, Problem

# Stating one of them in a file or with --set takes back the other one of a lower layer.
_ALTERNATIVES = ("train.epochs", "train.steps")
ENABLED = "enabled"
"""The core's key in the tables of plugins."""


@dataclass
class Draft:
    """Merged tables of several layers."""

    layers: Sequence[Layer]
    """Lowest first; the last one is the recipe itself."""
    tables: dict[str, Any] = field(default_factory=dict)
    overridden: set[str] = field(default_factory=set)
    """Dotted keys given with `--set`."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the overrides themselves."""
    references: dict[str, str] = field(default_factory=dict)
    """Names of environment variables by dotted key, once their values are in the tables."""
    unset: set[str] = field(default_factory=set)
    """Keys whose variable has no value here; the tables still say `env:NAME`."""

    @property
    def recipe(self) -> Layer:
        """The layer of the recipe file itself."""
        return self.layers[-1]

    @cached_property
    def keys(self) -> set[str]:
        """Dotted keys of everything in the merged tables; what a layer above replaced is not there."""
        return set(_all_keys(self.tables))

    def stated_by(self, key: str) -> Layer | None:
        """The layer whose value of `key` counts; None for `--set` and for what nobody stated."""
        if self.is_overridden(key) or key not in self.keys:
            return None
        return next((layer for layer in reversed(self.layers) if key in layer.positions), None)

    def is_overridden(self, key: str) -> bool:
        """True if `key`, or a table or array around it, was given with `--set`."""
        return any(prefix in self.overridden for prefix in _prefixes(key))

    def _is_made_by_override(self, key: str) -> bool:
        """True for a table that is there only because of a `--set` of a key in it."""
        return self.stated_by(key) is None and any(
            overridden.startswith(f"{key}.") for overridden in self.overridden
        )

    def origin(self, key: str) -> str:
        """Where a value came from: `default`, `plugin:lora`, `recipe.toml:12` or `--set`."""
        if key not in self.keys:
            return default_origin(key)
        if self.is_overridden(key):
            return OVERRIDE
        layer = self.stated_by(key)
        position = layer.positions.value(key) if layer else None
        return f"{layer.label}:{position.line}" if layer and position else default_origin(key)

    def folder_of(self, key: str) -> Path:
        """What a relative path is relative to: the file that states it.

        Where stoker is called for `--set` and for the value of an environment variable.
        """
        layer = None if key in self.references else self.stated_by(key)
        return layer.folder if layer else Path.cwd()

    def problem(
        self, key: str, message: str, hint: str = "", *, at_key: bool = False, fix: Fix | None = None
    ) -> Problem:
        """A problem at the value of `key`, at the key itself, or at what encloses it."""
        return replace(self._place(key, message, hint, at_key), fix=fix)

    def _place(self, key: str, message: str, hint: str, at_key: bool) -> Problem:
        if self.is_overridden(key) or self._is_made_by_override(key):
            return Problem(key=key, message=message, hint=hint, file=OVERRIDE)
        for prefix in _prefixes(key):
            layer = self.stated_by(prefix)
            if layer is not None:
                positions = layer.positions
                # Only the key itself is worth pointing at; of an enclosing table it is the header.
                wanted_key = at_key or prefix != key
                place = positions.key(prefix) if wanted_key else positions.value(prefix)
                line, column = place or (0, 0)
                return Problem(
                    key=key, message=message, hint=hint, file=str(layer.path), line=line, column=column
                )
        return Problem(key=key, message=message, hint=hint, file=str(self.recipe.path))


def make_draft(layers: Sequence[Layer], overrides: Sequence[str]) -> Draft:
    """Merge layers, then apply `--set` values: tables are merged, arrays and values replaced."""
    draft = Draft(layers)
    for layer in layers:
        own = {key: value for key, value in layer.tables.items() if key != EXTENDS}
        _drop_alternatives(draft.tables, own)
        draft.tables = merge(draft.tables, own)
    for override in overrides:
        _apply_override(draft, override)
    return draft


def default_origin(key: str) -> str:
    """Where a value came from that nobody stated: from stoker, or from the plugin whose option it is."""
    table, _, option = key.partition(".")
    name, _, option = option.partition(".")
    return f"plugin:{name}" if table == "plugins" and option not in ("", ENABLED) else "default"


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """A new table in which `upper` wins; tables on both sides are merged in turn."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(below, value)
        elif isinstance(value, Mapping):
            merged[key] = merge({}, value)
        else:
            merged[key] = value
    return merged


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of everything that is neither a table nor an array of something."""
    children: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping) and (value or not key):
        children = iter(value.items())
    elif isinstance(value, list) and value:
        children = enumerate(value)
    if children is None:
        yield key, value
        return
    for name, child in children:
        yield from leaves(child, f"{key}.{name}" if key else str(name))


def _all_keys(value: Any, prefix: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, child in items:
        key = f"{prefix}{name}"
        yield key
        if isinstance(child, (Mapping, list)):
            yield from _all_keys(child, f"{key}.")


def value_problems(draft: Draft) -> Iterator[Problem]:
    """Values that TOML can write and no key of a recipe means anything by: inf, nan, NUL."""
    for key, value in leaves(draft.tables):
        if isinstance(value, float) and not math.isfinite(value):
            yield draft.problem(key, f"found {value}, expected a finite number.")
        if isinstance(value, str) and "\0" in value:
            yield draft.problem(key, "found a string with a NUL character, expected text.")


def _prefixes(key: str) -> list[str]:
    """`a.b.c`, `a.b`, `a`."""
    parts = key.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _drop_alternatives(below: dict[str, Any], own: Mapping[str, Any]) -> None:
    stated = [key for key in _ALTERNATIVES if _get(own, key) is not None]
    if len(stated) == 1:
        table, _, other = next(key for key in _ALTERNATIVES if key not in stated).partition(".")
        if isinstance(below.get(table), Mapping):
            below[table] = {key: value for key, value in below[table].items() if key != other}


def _get(tables: Mapping[str, Any], key: str) -> Any:
    table, _, name = key.partition(".")
    found = tables.get(table)
    return found.get(name) if isinstance(found, Mapping) else None


def _apply_override(draft: Draft, override: str) -> None:
    read = read_override(override)
    if isinstance(read, Problem):
        draft.problems.append(read)
        return
    key, value = read
    table, _, name = key.partition(".")
    if not draft.overridden & set(_ALTERNATIVES):
        _drop_alternatives(draft.tables, {table: {name: value}})
    problem = set_value(draft.tables, key, value)
    if problem:
        draft.problems.append(problem)
    else:
        draft.overridden.add(key)
