"""Validates tables with pydantic models and says what is wrong in TOML's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stoker.recipe.expectations import expectation
from stoker.recipe.fields import expected_by, field_at, literals, model_at, table_model
from stoker.recipe.problems import Problem, did_you_mean
from stoker.recipe.words import describe, one_of, shorten

ModelT = TypeVar("ModelT", bound=BaseModel)
MakeProblem = Callable[..., Problem]
Path = tuple[str | int, ...]


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
        wanted = one_of(dict.fromkeys(expectation(error) for error in errors))
        message = f"found {describe(found)}, expected {wanted}."
        return self._make_problem(self._dotted(place), message, self._hint(place, found, errors))

    def _hint(self, place: Path, found: Any, errors: Sequence[ErrorDetails]) -> str:
        if errors[0]["type"] == "literal_error" and isinstance(found, str):
            field = field_at(self._model, place) if place else None
            if nearest := did_you_mean(found, literals(field.annotation if field else None)):
                return nearest
        return self._about(place)

    def _unknown_key(self, place: Path) -> Problem:
        *parents, name = place
        table = model_at(self._model, parents)
        known = list(table.model_fields) if table else []
        word = "table" if isinstance(self._value(place), Mapping) else "key"
        message = f"{self._table_name(parents)} has no {word} {shorten(str(name))!r}."
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
            if (table := table_model(field.annotation))
        }
        owners = [f"[{key}]" for key, table in tables.items() if name in table.model_fields]
        return f"It belongs into {' or '.join(owners)}." if owners else ""

    def _missing_key(self, place: Path) -> Problem:
        *parents, name = place
        field = field_at(self._model, place)
        if field and table_model(field.annotation) and not get_args(field.annotation):
            message = f"the table [{self._dotted(place)}] is missing."
        else:
            expected = expected_by(model_at(self._model, parents), str(name))
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


def _list_keys(known: Sequence[str]) -> str:
    return f"Its keys are {', '.join(known)}." if known else "It has no keys at all."
