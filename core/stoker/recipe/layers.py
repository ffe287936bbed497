"""The files a recipe is made of, each read on its own.

A recipe may build on another one, `extends = "base.toml"`, which may build on a third. Each file is
a layer, the lowest first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from stoker.errors import RecipeError
from stoker.recipe.positions import Position, Positions
from stoker.recipe.problems import Problem, did_you_mean
from stoker.recipe.words import describe

MAX_BYTES = 1_000_000
MAX_FILES = 8
MAX_DEPTH = 32
EXTENDS = "extends"


@dataclass(frozen=True)
class Layer:
    """One recipe file."""

    path: Path
    """As the user or the file above it names it."""
    label: str
    """How the origin of a value is written: the path relative to the recipe's own folder."""
    text: str
    tables: Mapping[str, Any]
    positions: Positions = field(repr=False)

    @property
    def folder(self) -> Path:
        """What relative paths in this file are relative to; absolute."""
        return self.path.absolute().parent

    def problem(self, key: str, message: str, hint: str = "") -> Problem:
        """A problem at `key` of this file."""
        line, column = self.positions.nearest(key) or Position(0, 0)
        return Problem(
            key=key, message=message, hint=hint, file=str(self.path), line=line, column=column
        )


class _UnreadableError(RecipeError):
    """A file that is not there or is no text. What names it is the place to mend it."""

    def __init__(self, path: Path, message: str, hint: str) -> None:
        self.problem = Problem(key="", message=message, hint=hint, file=str(path))
        super().__init__([self.problem])


def read_layers(path: Path, text: str | None = None) -> list[Layer]:
    """Read a recipe and what it extends, the lowest layer first.

    `text` stands for what is in `path`, which need not be there: a recipe that is not saved yet.
    Raises `RecipeError` for files that cannot be read or parsed, for circles, and for chains of more
    than `MAX_FILES` files.
    """
    layers = [_read_layer(path, path.name) if text is None else _parse_layer(path, path.name, text)]
    seen = [path.resolve()]
    while (base := _base_of(layers[-1])) is not None:
        _check_chain(layers[-1], base, seen)
        layers.append(_read_base(layers[-1], base, path))
        seen.append(base.resolve())
    return layers[::-1]


def _base_of(layer: Layer) -> Path | None:
    base = layer.tables.get(EXTENDS)
    if base is None:
        return None
    if not isinstance(base, str) or not base or "\0" in base:
        message = f"found {describe(base)}, expected a string: the path of another recipe."
        raise RecipeError([layer.problem(EXTENDS, message)])
    return Path(os.path.normpath(layer.path.parent / os.path.expanduser(base)))


def _check_chain(layer: Layer, base: Path, seen: list[Path]) -> None:
    hint = "Take one `extends` out."
    if base.resolve() in seen:
        circle = " -> ".join(path.name for path in [*seen, base])
        raise RecipeError([layer.problem(EXTENDS, f"recipes extend each other: {circle}.", hint)])
    if len(seen) >= MAX_FILES:
        message = f"more than {MAX_FILES} recipes extend one another."
        raise RecipeError([layer.problem(EXTENDS, message, hint)])


def _read_base(layer: Layer, base: Path, recipe: Path) -> Layer:
    try:
        return _read_layer(base, os.path.relpath(base.absolute(), recipe.absolute().parent))
    except _UnreadableError as error:
        found = error.problem
        message = f"{found.file}: {found.message}"
        raise RecipeError([layer.problem(EXTENDS, message, found.hint)]) from error


def _read_layer(path: Path, label: str) -> Layer:
    return _parse_layer(path, label, _read_text(path))


def _parse_layer(path: Path, label: str, text: str) -> Layer:
    try:
        tables = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise RecipeError([_syntax_problem(path, error)]) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    if depth(tables) > MAX_DEPTH:
        raise _too_deep(path)
    return Layer(path, label, text, tables, Positions(text))


def depth(value: Any) -> int:
    """How many tables and arrays stand in one another. Needs no recursion, unlike what it guards."""
    level, found = [value], 0
    while level := [item for item in level if isinstance(item, (Mapping, list))]:
        level = [
            child for item in level for child in (item.values() if isinstance(item, Mapping) else item)
        ]
        found += 1
    return found


def _too_deep(path: Path) -> RecipeError:
    hint = f"Tables and arrays may stand in one another {MAX_DEPTH} deep."
    return _UnreadableError(path, "is nested too deeply.", hint)


def _syntax_problem(path: Path, error: tomli.TOMLDecodeError) -> Problem:
    return Problem(
        key="",
        message=f"not valid TOML: {error.msg[:1].lower()}{error.msg[1:]}.",
        hint="Strings need quotes, and every line is `key = value` or `[table]`.",
        file=str(path),
        line=error.lineno,
        column=error.colno,
    )


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _UnreadableError(path, "no such file.", _spelling_hint(path)) from error
    except IsADirectoryError as error:
        hint = "Name a .toml file inside it."
        raise _UnreadableError(path, "is a directory, expected a TOML file.", hint) from error
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "Check its permissions." if isinstance(error, PermissionError) else "Check the path."
        raise _UnreadableError(path, f"cannot be read: {reason}.", hint) from error
    if len(content) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1_000_000} MB, which no recipe is."
        raise _UnreadableError(path, message, "Is it a data file?")
    return _decode(path, content)


def _decode(path: Path, content: bytes) -> str:
    try:
        # The byte order mark that some editors write is no part of the text.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"is not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}."
        raise _UnreadableError(path, message, "Save it as UTF-8.") from error


def _spelling_hint(path: Path) -> str:
    if path.parent.is_dir():
        neighbours = (str(other) for other in path.parent.glob("*.toml"))
        if nearest := did_you_mean(str(path), neighbours):
            return nearest
    return "Check the path."
