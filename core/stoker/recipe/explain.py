"""What a key of a recipe means: its value, where that came from, its type and its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stoker.errors import UsageError
from stoker.recipe.draft import default_origin
from stoker.recipe.json_schema import Schema, recipe_schema, schema_at
from stoker.recipe.layers import EXTENDS
from stoker.recipe.model import Recipe
from stoker.recipe.problems import did_you_mean
from stoker.recipe.words import schema_words, type_word
from stoker.registry import load_plugin_class


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One key of one recipe."""

    key: str
    value: Any
    """None where it is not set."""
    origin: str
    """`default`, `plugin:lora`, `recipe.toml:12` or `--set`; `several` for a table whose keys differ."""
    type: str
    """In TOML's words."""
    default: Any
    """None where there is none."""
    description: str
    keys: list[Explained] = field(default_factory=list)
    """Those of a table, or the items of an array of tables, without their own keys."""

    def as_dict(self) -> dict[str, Any]:
        """The shape of `explain --json`."""
        return asdict(self)


def explain(recipe: Recipe, key: str) -> Explained:
    """Explain a dotted key, `train.steps` or `data.train.0.path` or `plugins.lora`.

    Raises `UsageError` with the nearest spelling for a key the recipe cannot have, and `PluginError`
    for one of a plugin that does not load.
    """
    schema = recipe_schema(_plugin_schemas(recipe, key))
    del schema["properties"][EXTENDS]
    values = _with_defaults(recipe, schema)
    if (parts := key.split("."))[0] == "plugins" and len(parts) > 1:
        _check_plugin(recipe, parts[1])
    explained = _explain(recipe, schema, values, key)
    if explained is None:
        raise UsageError(f"{recipe.path}: there is no key {key!r}.", hint=_hint(schema, values, key))
    found = (_explain(recipe, schema, values, child) for child in _children(schema, values, key))
    return replace(explained, keys=[child for child in found if child])


def _plugin_schemas(recipe: Recipe, key: str) -> dict[str, Mapping[str, Any]]:
    """Schemas of the plugins that are switched on, and of one that is not if the key is about it."""
    names = [name for name in recipe.tables.plugins if name in recipe.plugins or name in key.split(".")]
    return {name: load_plugin_class(name).Config.model_json_schema() for name in names}


def _with_defaults(recipe: Recipe, schema: Schema) -> dict[str, Any]:
    """All values. The core does not add `enabled`, nor options to a plugin that is switched off."""
    values = recipe.resolved()
    for name, table in schema["properties"]["plugins"]["properties"].items():
        options = {key: option.get("default") for key, option in table["properties"].items()}
        values["plugins"][name] = {**options, **values["plugins"][name]}
    return values


def _check_plugin(recipe: Recipe, name: str) -> None:
    if name not in recipe.tables.plugins:
        hint = did_you_mean(name, recipe.tables.plugins) or f"`stoker plugins {name}` lists its options."
        raise UsageError(f"{recipe.path} has no table [plugins.{name}].", hint=hint)


def _explain(recipe: Recipe, schema: Schema, values: Any, key: str) -> Explained | None:
    described = schema_at(schema, key)
    found, value = _value_at(values, key)
    if described is None or not found:
        return None
    return Explained(
        key=key,
        value=value,
        origin=_origin(recipe, key),
        type=schema_words(described, schema["$defs"]) if described else type_word(value),
        default=described.get("default"),
        description=described.get("description", ""),
    )


def _value_at(values: Any, key: str) -> tuple[bool, Any]:
    for part in key.split("."):
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return False, None
    return True, values


def _origin(recipe: Recipe, key: str) -> str:
    inside = f"{key}."
    stated = dict.fromkeys(
        origin for name, origin in recipe.origins.items() if name == key or name.startswith(inside)
    )
    return next(iter(stated), default_origin(key)) if len(stated) < 2 else "several"


def _children(schema: Schema, values: Any, key: str) -> Iterator[str]:
    """Keys of a table, items of an array of tables."""
    _, value = _value_at(values, key)
    if isinstance(value, Mapping):
        yield from (f"{key}.{name}" for name in value)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield from (f"{key}.{number}" for number in range(len(value)))


def _hint(schema: Schema, values: Any, key: str) -> str:
    known = list(_all_keys(schema, values))
    name = key.rpartition(".")[2]
    if same := [each for each in known if each.rpartition(".")[2] == name]:
        return f"Did you mean {same[0]!r}?"
    return did_you_mean(key, known) or f"Its tables are {', '.join(values)}."


def _all_keys(schema: Schema, values: Mapping[str, Any]) -> Iterator[str]:
    pending = list(values)
    for key in pending:
        yield key
        pending += _children(schema, values, key)
