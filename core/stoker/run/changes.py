"""Which values of a recipe may change when a run goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stoker.errors import UsageError
from stoker.recipe.draft import ENABLED, default_origin, leaves
from stoker.recipe.environment import conceal, require_values, values_behind
from stoker.recipe.expectations import examples_of, expectation
from stoker.recipe.fields import field_at, model_at
from stoker.recipe.model import Recipe
from stoker.recipe.overrides import OVERRIDE
from stoker.recipe.paths import insert_values
from stoker.recipe.plugin_defaults import complete_options
from stoker.recipe.plugin_tables import NO_SECRETS, literal_secrets, own_options
from stoker.recipe.problems import did_you_mean
from stoker.recipe.schema import RecipeTables
from stoker.recipe.words import shorten
from stoker.registry import load_plugin_class
from stoker.run.change_rules import PLUGINS, Change, class_of, covers

_NOTHING: Final = "nothing"


def change_recipe(recipe: Recipe, overrides: Sequence[str], allowed: Sequence[str]) -> Recipe:
    """The recipe with `--set` values of a resume.

    A key that changes what is trained must also stand in `allowed`. Raises `UsageError` naming all
    keys that do not and all that may never change; for a value that is wrong; and for environment
    variables that are not set. A value that stays as it was needs no leave.
    """
    values, stated = recipe.resolved(), [parse_override(override)[0] for override in overrides]
    for override in overrides:
        _put(values, *parse_override(override))
    unused = [key for key in allowed if not any(_related(key, other) for other in stated)]
    if unused:
        raise UsageError(f"--allow-change {unused[0]} has no --set {unused[0]}=VALUE beside it.")
    used, references = insert_values(values)
    require_values(references)
    with _refusals(RecipeTables, used, references):
        tables = RecipeTables.model_validate(used)
    completed = _complete_plugins(tables, stated, references)
    origins = _origins(recipe.origins, stated, tables, completed)
    changed = dataclasses.replace(recipe, tables=completed, origins=origins, references=references)
    _require_allowed(list_changes(recipe, changed), allowed)
    return changed


def list_changes(before: Recipe, after: Recipe) -> list[Change]:
    """Every value that differs, each with its class.

    A plugin that is switched on or off is one change, `plugins.NAME`, whatever its options.
    """
    old, new = _comparable(before.resolved()), _comparable(after.resolved())
    switched = {
        f"{PLUGINS}.{name}"
        for name in old[PLUGINS].keys() | new[PLUGINS].keys()
        if _is_on(old, name) != _is_on(new, name)
    }
    old_leaves, new_leaves = (
        {key: value for key, value in leaves(values) if value not in ({}, [])} for values in (old, new)
    )
    changed = [
        Change(key, _shown(old_leaves, key), _shown(new_leaves, key), class_of(key))
        for key in sorted(old_leaves.keys() | new_leaves.keys())
        if old_leaves.get(key) != new_leaves.get(key)
        and not any(covers(plugin, key) for plugin in switched)
    ]
    for key in sorted(switched):
        is_on = _is_on(new, key.removeprefix(f"{PLUGINS}."))
        words = ("off", "on") if is_on else ("on", "off")
        changed.append(Change(key, *words, class_of(key)))
    return changed


def _comparable(values: dict[str, Any]) -> dict[str, Any]:
    """Without the tables of plugins that are switched off: nobody reads their options."""
    tables = values[PLUGINS].items()
    return {**values, PLUGINS: {name: own_options(t) for name, t in tables if t.get(ENABLED, True)}}


def _is_on(values: Mapping[str, Any], name: str) -> bool:
    return name in values[PLUGINS]


def _shown(values: Mapping[str, Any], key: str) -> str:
    return shorten(str(values[key])) if values.get(key) is not None else _NOTHING


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


def _require_allowed(changes: Sequence[Change], allowed: Sequence[str]) -> None:
    fixed = [change for change in changes if change.change_class == "forbidden"]
    needing = [change for change in changes if change.change_class == "allow"]
    asking = [change for change in needing if not _is_allowed(change, allowed)]
    if not fixed and not asking:
        return
    hints = ["Start a new run with: stoker run --fresh."] if fixed else []
    if asking:
        hints.append(f"If you mean it, add: {' '.join(f'--allow-change {c.key}' for c in asking)}")
    message = "; ".join(change.render() for change in (*fixed, *asking))
    raise UsageError(f"{message}.", hint=" ".join(hints))


def _is_allowed(change: Change, allowed: Sequence[str]) -> bool:
    # Whoever allows an option of a plugin that was off allows to switch it on.
    return any(_related(key, change.key) for key in allowed)


def _related(key: str, other: str) -> bool:
    return covers(key, other) or covers(other, key)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    table = values
    if tables[:1] == ["plugins"] and len(tables) > 1:
        # As in a recipe, naming an option of a plugin switches the plugin on.
        values["plugins"].setdefault(tables[1], {})
    for name in tables:
        inner = table.get(name)
        if not isinstance(inner, dict):
            raise UsageError(
                f"there is no table {name!r} for --set {key}.", hint=did_you_mean(name, table)
            )
        table = inner
    table[last] = value


def _complete_plugins(
    tables: RecipeTables, stated: Sequence[str], references: Mapping[str, str]
) -> RecipeTables:
    """With the options of plugins that were changed checked, and completed as in a new run."""
    plugins = dict(tables.plugins)
    for name, table in tables.plugins.items():
        place = f"plugins.{name}"
        is_changed = any(_related(place, key) for key in stated)
        if is_changed and table.get(ENABLED, True):
            plugins[name] = _completed(name, table, references)
    return tables.model_copy(update={"plugins": plugins})


def _completed(name: str, table: Mapping[str, Any], references: Mapping[str, str]) -> dict[str, Any]:
    config, options, prefix = load_plugin_class(name).Config, own_options(table), f"plugins.{name}."
    for secret in literal_secrets(config, options):
        if f"{prefix}{secret}" not in references:
            raise UsageError(f"--set {prefix}{secret}: {NO_SECRETS[0]}", hint=NO_SECRETS[1])
    values = {"plugins": {name: table}}
    with _refusals(config, values, references, prefix):
        validated = config.model_validate(options)
    return complete_options(table, validated, values_behind(values, references))


@contextmanager
def _refusals(
    model: type[BaseModel],
    values: Mapping[str, Any],
    references: Mapping[str, str],
    prefix: str = "",
) -> Iterator[None]:
    """Say what pydantic refuses, without the values of environment variables."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason, hint = _reason(model, first)
        reason = conceal(reason, values_behind(values, references), at_least=1)
        raise UsageError(f"--set {prefix}{key}: {reason}.", hint=hint) from None


def _reason(model: type[BaseModel], error: ErrorDetails) -> tuple[str, str]:
    """What is wrong, in words, and a hint."""
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        table = model_at(model, place[:-1])
        known = list(table.model_fields) if table else []
        return "there is no such key", did_you_mean(str(place[-1]), known)
    if error["type"] == "value_error":
        return str(error.get("ctx", {}).get("error", error["msg"])), ""
    field = field_at(model, place) if place else None
    examples = examples_of(field) if error["type"] == "string_pattern_mismatch" else ""
    return f"expected {examples or expectation(error)}", ""


def _origins(
    before: Mapping[str, str], stated: Sequence[str], tables: RecipeTables, completed: RecipeTables
) -> dict[str, str]:
    """Where each value came from, after changes to `tables` and what they were completed with."""
    origins = dict(before)
    for key, _ in leaves(tables.model_dump(mode="json")):
        if any(covers(changed, key) for changed in stated):
            origins[key] = OVERRIDE
    for key, _ in leaves(completed.model_dump(mode="json")):
        origins.setdefault(key, default_origin(key))
    return origins
