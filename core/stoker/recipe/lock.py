"""`recipe.lock.json`: every resolved value of a recipe and where it came from.

A rank trains what the lock says. The recipe's file may have changed or gone since the launch. Only the
values of environment variables are not in it: `env:NAME` is what it says of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stoker.errors import StorageError, UsageError
from stoker.recipe.environment import conceal, require_values, values_behind
from stoker.recipe.model import Recipe
from stoker.recipe.paths import insert_values
from stoker.recipe.schema import RecipeTables
from stoker.run.files import replace_file

VERSION = 1


def write_lock(recipe: Recipe, path: Path) -> None:
    """Write a recipe's lock; readers see the whole file or none. Raises `StorageError`."""
    lock = {
        "v": VERSION,
        "recipe_path": str(recipe.path.absolute()),
        "fingerprint": recipe.fingerprint(),
        "values": recipe.resolved(),
        "origins": recipe.origins,
    }
    replace_file(path, json.dumps(lock, indent=1) + "\n")


def read_lock(path: Path, *, allow_unset: bool = False) -> Recipe:
    """The recipe that a lock describes, without its text.

    Raises `UsageError` for a lock of another version of the format or of values this stoker does
    not know, `StorageError` for one that is missing or damaged. That an environment variable is not
    set is a `UsageError` unless `allow_unset`: then its value is not known, and must not be used.
    """
    lock = _read_json(path)
    if lock.get("v") != VERSION:
        raise UsageError(
            f"{path} has version {lock.get('v')!r} of the format; this stoker reads {VERSION}.",
            hint="Use the version of stoker that started the run.",
        )
    try:
        values, references = insert_values(lock["values"])
        if not allow_unset:
            require_values(references)
        return Recipe(
            tables=_validated(path, values, references),
            path=Path(lock["recipe_path"]),
            origins=dict(lock["origins"]),
            references=references,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _validated(path: Path, values: Mapping[str, Any], references: Mapping[str, str]) -> RecipeTables:
    try:
        return RecipeTables.model_validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if key in references:
            message = f"{path}: {key}: the value of env:{references[key]} is refused: {first['msg']}."
            message = conceal(message, values_behind(values, references), at_least=1)
            raise UsageError(message, hint="Set the variable as it was when the run began.") from None
        raise UsageError(
            f"{path}: {key}: {first['msg']}.",
            hint="Use the version of stoker that started the run.",
        ) from error


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Without it nobody knows what the run trains; start a new run.",
        ) from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(lock, dict):
        raise _damaged(path, "not an object")
    return lock


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(f"{path} is damaged: {reason}.", hint="Start a new run from the recipe.")
