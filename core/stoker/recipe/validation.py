"""Validates tables with pydantic models and says what is wrong in TOML's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from stoker.recipe.problems import Problem, did_you_mean
from stoker.recipe.words import describe, one_of, schema_words, with_article

ModelT = TypeVar("ModelT", bound=BaseModel)
MakeProblem = Callable[..., Problem]
Path = tuple[str | int, ...]

_TYPE_WORDS = {
    "int": "integer",
    "float": "float",
    "decimal": "float",
    "string": "string",
    "path": "string",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "dict": "table",
    "mapping": "table",
    "model": "table",
    "datetime": "date-time",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("of at most", "le"),
}


def validate_tables(
    model: type[ModelT], tables: Mapping[str, Any], make_problem: MakeProblem, prefix: str = ""
) -> tuple[ModelT | None, list[Problem]]:
    """A validated model, or every problem there is.

    `make_problem(key, message, hint, at_key=...)` knows where keys stand; `prefix` is the dotted key
    of `tables`. Numbers are not made from strings, nor integers from floats.
    """
    try:
        # As JSON, strictness still allows what TOML cannot write otherwise: paths, tuples, dates.
        text = json.dumps(tables, default=str)
        return model.model_validate_json(text, strict=True), []
    except ValidationError as error:
        translator = _Translator(model, tables, make_problem, prefix)
        return None, list(translator.problems(error.errors(include_url=False)))


def field_at(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """The field that a path of keys and item numbers leads to, through tables and arrays of them."""
    *parents, name = path
    table = _model_at(model, parents)
    return table.model_fields.get(str(name)) if table else None


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    table: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str):
            field = table.model_fields.get(part) if table else None
            table = _table_model(field.annotation) if field else None
    return table


def _table_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside `Model`, `list[Model]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_table_model(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)


class _Translator:
    """Turns pydantic's errors about one set of tables into problems."""

    def __init__(
        self, model: type[BaseModel], tables: Mapping[str, Any], make_problem: MakeProblem, prefix: str
    ) -> None:
        self._model = model
        self._tables = tables
        self._make_problem = make_problem
        self._prefix = prefix

    def problems(self, errors: Sequence[ErrorDetails]) -> Iterator[Problem]:
        """One problem for each place; the branches of a union are one place."""
        places: dict[Path, list[ErrorDetails]] = {}
        for error in errors:
            places.setdefault(self._place(error), []).append(error)
        for place, found in places.items():
            yield self._problem(place, found)

    def _place(self, error: ErrorDetails) -> Path:
        """The error's location without the names of union branches, which are no keys."""
        place: list[str | int] = []
        value: Any = self._tables
        for part in error["loc"]:
            if isinstance(value, Mapping) and part in value:
                value = value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            elif error["type"] == "missing" and isinstance(value, Mapping) and part == error["loc"][-1]:
                pass
            else:
                continue
            place.append(part)
        return tuple(place)

    def _problem(self, place: Path, errors: Sequence[ErrorDetails]) -> Problem:
        kind = errors[0]["type"]
        if kind == "extra_forbidden":
            return self._unknown_key(place)
        if kind == "missing":
            return self._missing_key(place)
        found = self._value(place)
        if kind == "value_error":
            message = str(errors[0].get("ctx", {}).get("error", errors[0]["msg"]))
            return self._make_problem(self._dotted(place), f"{message}.", self._about(place))
        wanted = one_of(dict.fromkeys(_expectation(error) for error in errors))
        message = f"found {describe(found)}, expected {wanted}."
        return self._make_problem(self._dotted(place), message, self._hint(place, found, errors))

    def _hint(self, place: Path, found: Any, errors: Sequence[ErrorDetails]) -> str:
        if errors[0]["type"] == "literal_error" and isinstance(found, str):
            field = field_at(self._model, place) if place else None
            if nearest := did_you_mean(found, _literals(field.annotation if field else None)):
                return nearest
        return self._about(place)

    def _unknown_key(self, place: Path) -> Problem:
        *parents, name = place
        table = _model_at(self._model, parents)
        known = list(table.model_fields) if table else []
        word = "table" if isinstance(self._value(place), Mapping) else "key"
        message = f"{self._table_name(parents)} has no {word} {name!r}."
        hint = self._other_table(str(name)) or did_you_mean(str(name), known) or _list_keys(known)
        return self._make_problem(self._dotted(place), message, hint, at_key=True)

    def _table_name(self, place: Sequence[str | int]) -> str:
        key = self._dotted(place)
        if not key:
            return "a recipe"
        return key if any(isinstance(part, int) for part in place) else f"[{key}]"

    def _other_table(self, name: str) -> str:
        """Says which table has the key that stands in a wrong one."""
        tables = {
            key: table
            for key, field in self._model.model_fields.items()
            if (table := _table_model(field.annotation))
        }
        owners = [f"[{key}]" for key, table in tables.items() if name in table.model_fields]
        return f"It belongs into {' or '.join(owners)}." if owners else ""

    def _missing_key(self, place: Path) -> Problem:
        *parents, name = place
        field = field_at(self._model, place)
        if field and _table_model(field.annotation) and not get_args(field.annotation):
            message = f"the table [{self._dotted(place)}] is missing."
        else:
            expected = _expected_by(_model_at(self._model, parents), str(name))
            message = f"the key {str(name)!r} is missing, expected {expected}."
        return self._make_problem(self._dotted(place), message, self._about(place))

    def _about(self, place: Path) -> str:
        """The description of the key, where there is one."""
        field = field_at(self._model, place) if place else None
        return field.description if field and field.description else ""

    def _value(self, place: Path) -> Any:
        value: Any = self._tables
        for part in place:
            value = value[part]
        return value

    def _dotted(self, place: Sequence[str | int]) -> str:
        return ".".join(str(part) for part in ([self._prefix] if self._prefix else []) + list(place))


def _expectation(error: ErrorDetails) -> str:
    """What one error says was expected."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"a number {words} {context[key]:g}"
    if kind == "literal_error":
        return str(context["expected"]).replace("'", '"')
    if kind == "string_pattern_mismatch":
        return f"a string that matches {context['pattern']}"
    if kind in ("too_short", "too_long"):
        return _size(context, "item")
    if kind in ("string_too_short", "string_too_long"):
        return _size(context, "character")
    word = _TYPE_WORDS.get(kind.partition("_")[0])
    if word and kind.endswith(("_type", "_parsing", "_from_float")):
        return with_article(word)
    return f"something else ({error['msg']})"


def _size(context: Mapping[str, Any], unit: str) -> str:
    least = "min_length" in context
    words, number = ("at least", context["min_length"]) if least else ("at most", context["max_length"])
    return f"{words} {number} {unit}{'' if number == 1 else 's'}"


def _expected_by(table: type[BaseModel] | None, name: str) -> str:
    if table is None or name not in table.model_fields:
        return "a value"
    schema = table.model_json_schema()["properties"]
    return with_article(schema_words(schema[name]))


def _literals(annotation: Any) -> list[str]:
    """The strings of a `Literal`, also inside a union."""
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _literals(argument)
    return found


def _list_keys(known: Sequence[str]) -> str:
    return f"Its keys are {', '.join(known)}." if known else "It has no keys at all."
