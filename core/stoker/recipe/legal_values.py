"""The legal value of a field that is nearest to one that is not, for the fixes of problems."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

import tomli
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from stoker.recipe.problems import nearest

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")
_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}
_INTERVAL = re.compile(r"([0-9]+) *([a-z]*)")
_UNITS = {
    "": "steps",
    "m": "min",
    "minutes": "min",
    "sec": "s",
    "seconds": "s",
    "hour": "h",
    "hours": "h",
}


def nearest_legal(field: FieldInfo, found: Any) -> Any:
    """A value like `found` that the field takes; None where there is none that is near."""
    return _first_legal(field, lambda: _near(field, found), found)


def sensible(field: FieldInfo) -> Any:
    """A value to begin with where the key is missing; None where only the author can know one."""
    return _first_legal(field, lambda: _usual(field), None)


def sensible_table(model: type[BaseModel]) -> dict[str, Any]:
    """The keys that a table must have, as far as there are sensible values."""
    required = {name: field for name, field in model.model_fields.items() if field.is_required()}
    values = {name: sensible(field) for name, field in required.items()}
    return {name: value for name, value in values.items() if value is not None}


def _first_legal(field: FieldInfo, candidates: Callable[[], Iterator[Any]], found: Any) -> Any:
    try:
        adapter = _adapter(field)
        for candidate in candidates():
            is_new = candidate is not None and (candidate, type(candidate)) != (found, type(found))
            if is_new and _is_legal(adapter, candidate):
                return candidate
    except Exception:
        # Types of plugins raise what they like, and some have no schema: such a problem has no fix.
        return None
    return None


def _is_legal(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValueError:
        return False
    return True


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = field.annotation
    constrained: Any = Annotated[annotation, *field.metadata] if field.metadata else annotation
    return TypeAdapter(constrained)


def _near(field: FieldInfo, found: Any) -> Iterator[Any]:
    """What `found` may have been meant to be, the likeliest first."""
    yield from _rewritten(found)
    for branch in _branches(_adapter(field).json_schema()):
        yield from _like(branch, found)
    yield from _usual(field)


def _usual(field: FieldInfo) -> Iterator[Any]:
    """The default, the examples, the first choice, the least number."""
    if not field.is_required():
        yield field.get_default(call_default_factory=False)
    yield from field.examples or ()
    for branch in _branches(_adapter(field).json_schema()):
        yield from branch.get("enum", [])[:1]
        if branch.get("type") == "integer" and "minimum" in branch:
            yield branch["minimum"]


def _rewritten(found: Any) -> Iterator[Any]:
    """The same in another type: "8", 8.0, 8 and [8] may all be meant alike."""
    if isinstance(found, str):
        yield from _said(found.strip().lower())
    elif isinstance(found, bool):
        yield int(found)
    elif isinstance(found, int):
        yield from (str(found), bool(found))
    elif isinstance(found, float) and math.isfinite(found):
        yield from (round(found), str(found))
    if isinstance(found, list):
        yield from found if len(found) == 1 else ()
    elif not isinstance(found, Mapping):
        yield [found]


def _said(text: str) -> Iterator[Any]:
    """What a string says."""
    with suppress(tomli.TOMLDecodeError):
        parsed = tomli.loads(f"value = {text}")
        yield from parsed.values() if len(parsed) == 1 else ()
    if match := _PERCENT.fullmatch(text):
        yield float(match[1]) / 100
    if text in _BOOLEANS:
        yield _BOOLEANS[text]
    yield text


def _like(branch: Mapping[str, Any], found: Any) -> Iterator[Any]:
    """Values of one branch of a field's schema that are near."""
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        yield from _in_bounds(branch, found)
    yield from _near_text(branch, str(found))
    items = branch.get("items")
    if not isinstance(items, Mapping):
        return
    if len(required := items.get("required", [])) == 1:
        rows = found if isinstance(found, list) else [found]
        yield [each if isinstance(each, Mapping) else {required[0]: each} for each in rows]
    if isinstance(found, list) and "enum" in items:
        near = [
            each if each in items["enum"] else next(_near_text(items, str(each)), None) for each in found
        ]
        yield [each for each in dict.fromkeys(near) if each is not None]


def _in_bounds(branch: Mapping[str, Any], found: float) -> Iterator[float]:
    """The bound that was overstepped, or a step inside where it is itself no legal value."""
    step = branch.get("multipleOf", 1)
    for name, sign in (("minimum", 1), ("maximum", -1)):
        exclusive = branch.get(f"exclusive{name.capitalize()}")
        if exclusive is not None and (found - exclusive) * sign <= 0 and branch.get("type") == "integer":
            yield exclusive + sign * step
        bound = branch.get(name)
        if bound is not None and (found - bound) * sign < 0:
            yield bound
    if "multipleOf" in branch:
        yield from (found // step * step, (found // step + 1) * step)


def _near_text(branch: Mapping[str, Any], found: str) -> Iterator[Any]:
    choices = branch.get("enum", [branch["const"]] if "const" in branch else [])
    by_text = {str(choice).lower(): choice for choice in choices}
    if (near := nearest(found.lower(), by_text)) is not None:
        yield by_text[near]
    if branch.get("type") == "string" and "pattern" in branch:
        if match := _INTERVAL.fullmatch(found.strip().lower()):
            yield f"{match[1]} {_UNITS.get(match[2], match[2])}"
        yield re.sub(r"[^a-z0-9._-]+", "-", found.strip().lower()).strip("-._")[:64]


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    definitions = schema.get("$defs", {})
    branches = schema.get("anyOf", [schema])

    def resolved(place: Mapping[str, Any]) -> Mapping[str, Any]:
        found = definitions.get(str(place.get("$ref", "")).rpartition("/")[2], place)
        return {**found, "items": resolved(found["items"])} if found.get("items") else found

    return [branch for branch in map(resolved, branches) if branch.get("type") != "null"]
