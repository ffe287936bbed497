"""Which values of a recipe may change when a run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from stoker.errors import UsageError
from stoker.recipe.model import Recipe
from stoker.recipe.problems import did_you_mean

SAFE_KEYS: Final = (
    "checkpoint",
    "launch",
    "train.evaluate_every",
    "train.log_every",
)
"""Do not change what is trained."""
FIXED_KEYS: Final = ("run", "model")
"""With another value it would be another run."""


def change_recipe(recipe: Recipe, overrides: Sequence[str], allowed: Sequence[str]) -> Recipe:
    """The recipe with `--set` values of a resume.

    A key that changes what is trained must also stand in `allowed`. Raises `UsageError` for one
    that does not, that may never change, or whose value is wrong.
    """
    values, origins = recipe.resolved(), dict(recipe.origins)
    for override in overrides:
        key, value = parse_override(override)
        _require_changeable(key, allowed)
        _put(values, key, value)
        origins[key] = "--set"
    unused = [key for key in allowed if not any(_covers(key, parse_override(o)[0]) for o in overrides)]
    if unused:
        raise UsageError(f"--allow-change {unused[0]} has no --set {unused[0]}=VALUE beside it.")
    tables = _validated(recipe, values)
    return dataclasses.replace(recipe, tables=tables, origins=origins)


def parse_override(override: str) -> tuple[str, Any]:
    """`train.steps=20` -> ("train.steps", 20). The value is TOML, else a string."""
    import tomli

    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {override!r} is not of the form KEY=VALUE.")
    try:
        return key.strip(), tomli.loads(f"value = {text}")["value"]
    except tomli.TOMLDecodeError:
        return key.strip(), text


def _require_changeable(key: str, allowed: Sequence[str]) -> None:
    if any(_covers(fixed, key) for fixed in FIXED_KEYS):
        raise UsageError(
            f"{key} cannot change while a run goes on.",
            hint="Start a new run with: stoker run --fresh",
        )
    if not any(_covers(known, key) for known in (*SAFE_KEYS, *allowed)):
        raise UsageError(
            f"{key} changes what is trained.", hint=f"If you mean it, add: --allow-change {key}"
        )


def _covers(prefix: str, key: str) -> bool:
    return key == prefix or key.startswith(f"{prefix}.")


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    table = values
    for name in tables:
        inner = table.get(name)
        if not isinstance(inner, dict):
            raise UsageError(
                f"there is no table {name!r} for --set {key}.", hint=did_you_mean(name, table)
            )
        table = inner
    table[last] = value


def _validated(recipe: Recipe, values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from stoker.recipe.schema import RecipeTables

    try:
        return RecipeTables.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"--set {key}: {first['msg']}.") from error
