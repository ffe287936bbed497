"""One JSON Schema (2020-12) of whole recipes: the core's tables and those of plugins.

It describes what an author writes: TOML has no null, and a recipe that extends another may leave
out what that one states. `env:NAME` is a string like any other: where a key takes certain strings
only, editors mark it although stoker accepts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.recipe.draft import ENABLED
from stoker.recipe.layers import EXTENDS
from stoker.recipe.schema import RecipeTables

Schema = dict[str, Any]

_NULL = {"type": "null"}
_VALUES = ("const", "default", "enum", "examples")
_EXTENDS = {
    "type": "string",
    "minLength": 1,
    "description": "Another recipe to build on, relative to this one; tables merge, arrays replace.",
}
_ENABLED = {"type": "boolean", "default": True, "description": "Whether the plugin is switched on."}


def recipe_schema(plugins: Mapping[str, Mapping[str, Any]]) -> Schema:
    """The schema of a recipe. `plugins` are the JSON Schemas of plugins' `Config`, by plugin."""
    schema = _tidy(RecipeTables.model_json_schema())
    definitions, properties = schema["$defs"], schema["properties"]
    demands = _lift_demands(schema)
    tables = {name: _plugin_table(name, own, definitions) for name, own in plugins.items()}
    demands["properties"]["plugins"] = {"properties": _plugin_demands(tables)}
    about = properties["plugins"].get("description", "")
    properties["plugins"] = {"type": "object", "description": about, "properties": tables}
    properties["plugins"]["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of stoker",
        "description": schema["description"],
        "type": "object",
        "properties": {EXTENDS: dict(_EXTENDS), **properties},
        "additionalProperties": False,
        "if": {"required": [EXTENDS]},
        "else": demands,
        "$defs": definitions,
    }


def schema_at(schema: Schema, key: str) -> Schema | None:
    """What a schema says about a dotted key, references resolved; None for a key it does not know."""
    place = schema
    for part in key.split("."):
        found = (_inside(branch, part) for branch in _branches(schema, place))
        inner = next((each for each in found if each is not None), None)
        if inner is None:
            return None
        place = inner
    # What stands beside a reference is about this place and goes first.
    beside = {name: value for name, value in place.items() if name != "$ref"}
    return {**_resolve(schema, place), **beside}


def _tidy(value: Any) -> Any:
    """Without the titles pydantic makes from names and without null, which TOML cannot write."""
    if isinstance(value, list):
        return [_tidy(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    tidy: Schema = {}
    for key, child in value.items():
        if key in ("properties", "$defs"):
            tidy[key] = {name: _tidy(each) for name, each in child.items()}
        elif key in _VALUES:
            tidy[key] = child
        elif key != "title":
            tidy[key] = _tidy(child)
    if tidy.get("default", ...) is None:
        del tidy["default"]
    branches = [branch for branch in tidy.pop("anyOf", []) if branch != _NULL]
    if len(branches) == 1:
        return {**branches[0], **tidy}
    return {"anyOf": branches, **tidy} if branches else tidy


def _lift_demands(schema: Schema) -> Schema:
    """Take `required` out of the recipe and its tables and return it as a schema of its own."""
    demands: Schema = {"required": schema.pop("required", []), "properties": {}}
    for name, place in schema["properties"].items():
        # Arrays are replaced as a whole, so what their items need is needed everywhere.
        if "$ref" in place and (required := _resolve(schema, place).pop("required", None)):
            demands["properties"][name] = {"required": required}
    return demands


def _plugin_table(name: str, own: Mapping[str, Any], definitions: Schema) -> Schema:
    """A plugin's table; its definitions move to the others, under names nobody else has."""
    table = _renamed(_tidy(own), f"plugins.{name}.")
    for definition, described in table.pop("$defs", {}).items():
        definitions[f"plugins.{name}.{definition}"] = described
    table["properties"] = {ENABLED: dict(_ENABLED), **table.get("properties", {})}
    return {"type": "object", **table}


def _plugin_demands(tables: Mapping[str, Schema]) -> Schema:
    """What each plugin's table needs unless it is switched off."""
    switched_off = {"properties": {ENABLED: {"const": False}}, "required": [ENABLED]}
    return {
        name: {"if": switched_off, "else": {"required": required}}
        for name, table in tables.items()
        if (required := table.pop("required", None))
    }


def _renamed(value: Any, prefix: str) -> Any:
    """With `prefix` before the name of each definition that is referred to."""
    if isinstance(value, list):
        return [_renamed(each, prefix) for each in value]
    if not isinstance(value, Mapping):
        return value
    start = "#/$defs/"
    return {
        key: f"{start}{prefix}{child.removeprefix(start)}"
        if key == "$ref" and isinstance(child, str)
        else _renamed(child, prefix)
        for key, child in value.items()
    }


def _branches(schema: Schema, place: Schema) -> Iterator[Schema]:
    resolved = _resolve(schema, place)
    yield resolved
    for branch in resolved.get("anyOf", []):
        yield _resolve(schema, branch)


def _resolve(schema: Schema, place: Schema) -> Schema:
    while "$ref" in place:
        place = schema["$defs"][place["$ref"].removeprefix("#/$defs/")]
    return place


def _inside(place: Schema, part: str) -> Schema | None:
    found = place.get("properties", {}).get(part)
    if found is None and part.isdigit():
        found = place.get("items")
    if found is None:
        found = place.get("additionalProperties")
    return found if isinstance(found, dict) else None
