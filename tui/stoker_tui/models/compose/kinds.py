"""What kind of field a JSON Schema describes: how it is edited, and what is a legal value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stoker.recipe.words import schema_words

Schema = dict[str, Any]
Kind = Literal[
    "choice", "boolean", "integer", "number", "text", "path", "duration", "secret", "array", "rows",
    "table", "mixed",
]  # fmt: skip
"""`rows`: an array of tables; `mixed`: one of several kinds, see `Field.alternatives`."""

_PATHS = ("path", "directory", "extends")
_SUFFIXES = {
    "seconds": "s", "hours": "h", "usd": "USD", "elements": "elements", "bytes": "bytes",
    "tokens": "tokens", "steps": "steps", "rows": "rows", "length": "tokens",
    "usd_per_gpu_hour": "USD/h", "batch_size": "rows",
}  # fmt: skip
_SAYS = (
    (re.compile(r"\bsteps between\b|^optimizer steps\b", re.IGNORECASE), "steps"),
    (re.compile(r"\bin tokens\b", re.IGNORECASE), "tokens"),
    (re.compile(r"^rows\b", re.IGNORECASE), "rows"),
    (re.compile(r"\bin seconds\b|^seconds\b", re.IGNORECASE), "s"),
    (re.compile(r"^hours\b", re.IGNORECASE), "h"),
    (re.compile(r"^passes over\b", re.IGNORECASE), "epochs"),
)


@dataclass(frozen=True)
class Field:
    """A key of the recipe."""

    key: str
    """Dotted; of a row that is to be added `data.train.-.path`."""
    kind: Kind
    description: str = ""
    type: str = ""
    """In TOML's words: `integer`, `array of string`."""
    default: Any = None
    """None where there is none."""
    choices: tuple[Any, ...] = ()
    examples: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    excludes_minimum: bool = False
    excludes_maximum: bool = False
    unit: str = ""
    alternatives: tuple[Field, ...] = ()
    """Of a `mixed` field: one for each kind it may be."""
    item: Field | None = None
    """Of an `array`: what its values are."""
    value: Any = None
    """As it counts, also from a base recipe; None where nobody states it."""
    origin: str = "default"
    is_stated: bool = False
    """In this recipe itself."""
    is_required: bool = False
    problems: tuple[Mapping[str, Any], ...] = ()
    item_fields: tuple[Field, ...] = ()
    """Of `rows`: the fields of a row, without values."""
    rows: tuple[tuple[Field, ...], ...] = ()

    @property
    def name(self) -> str:
        """The key within its table; of a table in a plugin's table with that."""
        parts = self.key.split(".")
        return ".".join(parts[2:] if parts[0] == "plugins" and len(parts) > 2 else parts[-1:])

    @property
    def shown(self) -> Any:
        """The value, or the default that stands for it."""
        return self.default if self.value is None else self.value

    @property
    def all_problems(self) -> tuple[Mapping[str, Any], ...]:
        """With those of the rows."""
        inside = (each for row in self.rows for field in row for each in field.all_problems)
        return (*self.problems, *inside)

    @property
    def bounds(self) -> str:
        """`>= 1`, `> 0 and <= 10`, or an empty string."""
        low, high = self.minimum, self.maximum
        parts = [] if low is None else [f"{'>' if self.excludes_minimum else '>='} {low:g}"]
        parts += [] if high is None else [f"{'<' if self.excludes_maximum else '<='} {high:g}"]
        return " and ".join(parts)


def resolve(schema: Schema, place: Schema) -> Schema:
    """A schema with a reference followed."""
    while "$ref" in place:
        place = schema["$defs"][place["$ref"].removeprefix("#/$defs/")]
    return place


def field_of(schema: Schema, key: str, place: Schema) -> Field:
    """The field that a schema describes, without a value."""
    place = {**resolve(schema, place), **{name: each for name, each in place.items() if name != "$ref"}}
    description = str(place.get("description", ""))
    name = key.rpartition(".")[2]
    branches = [resolve(schema, branch) for branch in place.get("anyOf", [])]
    low, high = _bound(place, "inimum"), _bound(place, "aximum")
    items: Schema = place.get("items") or next(iter(place.get("prefixItems", [])), {})
    return Field(
        key=key,
        kind=_kind(schema, place, name, description),
        description=description,
        type=schema_words(place, schema.get("$defs")),
        default=place.get("default"),
        choices=_choices(place),
        examples=tuple(place.get("examples", ())),
        minimum=low[0],
        maximum=high[0],
        excludes_minimum=low[1],
        excludes_maximum=high[1],
        unit=_unit(name, description, place),
        alternatives=tuple(field_of(schema, key, branch) for branch in branches),
        item=field_of(schema, f"{key}.-", items) if place.get("type") == "array" and items else None,
    )


def _kind(schema: Schema, place: Schema, name: str, description: str) -> Kind:
    if "enum" in place or "const" in place:
        return "choice"
    if "anyOf" in place:
        return "mixed"
    kind = place.get("type")
    if kind == "string":
        return _kind_of_text(place, name, description)
    if kind == "array":
        items = resolve(schema, place.get("items", {}))
        return "rows" if "properties" in items else "array"
    kinds: dict[Any, Kind] = {"boolean": "boolean", "integer": "integer", "number": "number"}
    return kinds.get(kind, "table")


def _kind_of_text(place: Schema, name: str, description: str) -> Kind:
    if place.get("writeOnly") or place.get("format") == "password":
        return "secret"
    if place.get("format") == "path" or name in _PATHS:
        return "path"
    return "duration" if description.startswith("Interval ") else "text"


def _choices(place: Schema) -> tuple[Any, ...]:
    return (place["const"],) if "const" in place else tuple(place.get("enum", ()))


def _bound(place: Schema, end: Literal["inimum", "aximum"]) -> tuple[float | None, bool]:
    exclusive = place.get(f"exclusiveM{end}")
    return (exclusive, True) if exclusive is not None else (place.get(f"m{end}"), False)


def _unit(name: str, description: str, place: Schema) -> str:
    types = {place.get("type"), *(branch.get("type") for branch in place.get("anyOf", []))}
    if not types & {"integer", "number"}:
        return ""
    for suffix, unit in _SUFFIXES.items():
        if name == suffix or name.endswith(f"_{suffix}"):
            return unit
    return next((unit for pattern, unit in _SAYS if pattern.search(description)), "")
