"""The form of a recipe: every key of the JSON Schema, with its value and who stated it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoker.recipe.draft import ENABLED
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.kinds import Field, Schema, field_of, resolve

Problem = Mapping[str, Any]
"""In the shape of `check --json`."""

_NO_TABLE = "recipe"
"""The section of keys that stand in no table."""


@dataclass(frozen=True)
class Section:
    """A table of the recipe, or a plugin's."""

    name: str
    """`train`, `plugins.lora`; `recipe` for the keys before the first table."""
    title: str
    description: str
    fields: tuple[Field, ...]
    plugin: str = ""
    is_on: bool = True
    """Whether a plugin is switched on; True for the core's tables."""
    problems: tuple[Problem, ...] = ()
    """About the table as a whole; those of fields are with the fields."""

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """With those of the fields and their rows."""
        return (*self.problems, *(each for field in self.fields for each in field.all_problems))


def sections_of(schema: Schema, document: Document, problems: Sequence[Problem] = ()) -> list[Section]:
    """The whole form: the core's tables, then plugins, those that are switched on first.

    Problems whose key no field has are with the nearest table.
    """
    builder = _Builder(schema, document, problems)
    return [*builder.core_sections(), *builder.plugin_sections()]


class _Builder:
    def __init__(self, schema: Schema, document: Document, problems: Sequence[Problem]) -> None:
        self._schema = schema
        self._document = document
        self._problems = problems
        self._demands = schema.get("else", {})

    def core_sections(self) -> Iterator[Section]:
        properties = self._schema["properties"]
        loose = [name for name in properties if not self._is_table(name)]
        fields = tuple(self._fields_of(loose, properties, "", self._demands))
        about = str(self._schema.get("description", ""))
        yield self._section(_NO_TABLE, "recipe", about, fields)
        demands = self._demands.get("properties", {})
        for name, place in properties.items():
            if name != "plugins" and name not in loose:
                table = resolve(self._schema, place)
                fields = tuple(self._table_fields(table, name, demands.get(name, {})))
                yield self._section(name, name, str(table.get("description", "")), fields)

    def plugin_sections(self) -> list[Section]:
        tables = self._schema["properties"]["plugins"].get("properties", {})
        sections = [self._plugin_section(name, tables[name]) for name in tables]
        return sorted(sections, key=lambda section: (not section.is_on, section.plugin))

    def _plugin_section(self, name: str, table: Schema) -> Section:
        demands = self._demands.get("properties", {}).get("plugins", {}).get("properties", {})
        required = demands.get(name, {}).get("else", {})
        key = f"plugins.{name}"
        fields = tuple(self._table_fields(table, key, required))
        is_on = self._document.is_on(name)
        if not is_on:
            # The schema's default is that of a table; without one the plugin is off.
            switch = f"{key}.{ENABLED}"
            fields = tuple(
                replace(each, default=False) if each.key == switch else each for each in fields
            )
        section = self._section(key, name, str(table.get("description", "")), fields)
        return replace(section, plugin=name, is_on=is_on)

    def _is_table(self, name: str) -> bool:
        place = resolve(self._schema, self._schema["properties"][name])
        return name == "plugins" or "properties" in place

    def _table_fields(self, table: Schema, prefix: str, demands: Schema) -> Iterator[Field]:
        yield from self._fields_of(table["properties"], table["properties"], prefix, demands)

    def _fields_of(
        self, names: Sequence[str], properties: Schema, prefix: str, demands: Schema
    ) -> Iterator[Field]:
        required = demands.get("required", [])
        for name in names:
            key = f"{prefix}.{name}" if prefix else name
            place = {**resolve(self._schema, properties[name]), **_beside(properties[name])}
            inner = place.get("properties")
            if inner and name != ENABLED:
                # A table in a table: its keys are shown among those of the outer one.
                yield from self._table_fields(place, key, place)
            else:
                yield self._field(key, place, name in required)

    def _field(self, key: str, place: Schema, is_required: bool) -> Field:
        described = field_of(self._schema, key, place)
        stated = self._document.stated(key)
        field = replace(
            described,
            value=stated.value,
            origin=stated.origin,
            is_stated=stated.is_own,
            is_required=is_required,
            problems=self._about(key),
        )
        if field.kind != "rows":
            return field
        items = resolve(self._schema, place["items"])
        rows = field.value if isinstance(field.value, list) else []
        return replace(
            field,
            problems=tuple(each for each in field.problems if each["key"] == key),
            item_fields=tuple(self._row_fields(items, f"{key}.-")),
            rows=tuple(tuple(self._row_fields(items, f"{key}.{place}")) for place in range(len(rows))),
        )

    def _row_fields(self, items: Schema, key: str) -> Iterator[Field]:
        yield from self._table_fields(items, key, items)

    def _about(self, key: str) -> tuple[Problem, ...]:
        """Problems of a key and of what is inside it."""
        inside = f"{key}."
        return tuple(
            each for each in self._problems if each["key"] == key or each["key"].startswith(inside)
        )

    def _section(self, name: str, title: str, description: str, fields: tuple[Field, ...]) -> Section:
        taken = {id(each) for field in fields for each in field.all_problems}
        if name == _NO_TABLE:
            mine = [each for each in self._problems if not self._has_section(each["key"])]
        else:
            mine = list(self._about(name))
        rest = tuple(each for each in mine if id(each) not in taken)
        return Section(name, title, description, fields, problems=rest)

    def _has_section(self, key: str) -> bool:
        """Whether a key is in one of the tables; a plugin that is not installed has none."""
        table, *inside = key.split(".")
        properties = self._schema["properties"]
        if table == "plugins":
            return bool(inside) and inside[0] in properties["plugins"]["properties"]
        return table in properties and self._is_table(table)


def _beside(place: Schema) -> Schema:
    """What stands beside a reference is about this place and goes before what it refers to."""
    return {name: value for name, value in place.items() if name != "$ref"}
