"""Validates tables with pydantic models and says what is wrong in TOML's words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stoker.recipe.expectations import examples_of, expectation
from stoker.recipe.fields import expected_by, field_at, literals, model_at, table_model
from stoker.recipe.legal_values import nearest_legal, sensible, sensible_table
from stoker.recipe.problems import Fix, Problem, did_you_mean, nearest
from stoker.recipe.words import describe, one_of, shorten

if TYPE_CHECKING:
    from stoker.recipe.draft import Draft

ModelT = TypeVar("ModelT", bound=BaseModel)
Path = tuple[str | int, ...]
_NO_STRING = frozenset(
    {
        "int_type",
        "float_type",
        "bool_type",
        "list_type",
        "tuple_type",
        "set_type",
        "dict_type",
        "model_type",
    }
)
"""Kinds of errors that no string is free of."""


def validate_tables(
    model: type[ModelT],
    tables: Mapping[str, Any],
    draft: Draft,
    prefix: str = "",
) -> tuple[ModelT | None, list[Problem]]:
    """A validated model, or every problem there is.

    `draft` knows where keys stand and which values are not shown; `prefix` is the dotted key of
    `tables` in it. Numbers are not made from strings, nor integers from floats. What depends on a
    value that is not known here is a warning.
    """
    try:
        # As JSON, strictness still allows what TOML cannot write otherwise: paths, tuples, dates.
        text = json.dumps(tables, default=str)
        return model.model_validate_json(text, strict=True), []
    except ValidationError as error:
        translator = _Translator(model, tables, draft, prefix)
        return None, list(translator.problems(error.errors(include_url=False)))


class _Translator:
    """Turns pydantic's errors about one set of tables into problems."""

    def __init__(
        self,
        model: type[BaseModel],
        tables: Mapping[str, Any],
        draft: Draft,
        prefix: str,
    ) -> None:
        self._model = model
        self._tables = tables
        self._draft = draft
        self._prefix = prefix

    def problems(self, errors: Sequence[ErrorDetails]) -> Iterator[Problem]:
        """One problem for each place; the branches of a union are one place."""
        places: dict[Path, list[ErrorDetails]] = {}
        for error in errors:
            places.setdefault(self._place(error), []).append(error)
        for place, found in places.items():
            problem = self._problem(place, found)
            yield replace(problem, severity="warning") if self._is_unknown(place, found) else problem

    def _is_unknown(self, place: Path, errors: Sequence[ErrorDetails]) -> bool:
        """Whether another value of a variable that is not set here could be right."""
        key, kind = self._dotted(place), errors[0]["type"]
        if kind == "value_error" and any(unset.startswith(f"{key}.") for unset in self._draft.unset):
            return True
        needs_no_string = all(error["type"] in _NO_STRING for error in errors)
        return key in self._draft.unset and not needs_no_string

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
            return self._draft.problem(self._dotted(place), f"{message}.", self._about(place))
        wanted = self._examples(place, kind) or one_of(
            dict.fromkeys(expectation(error) for error in errors)
        )
        message = f"found {self._describe(place, found)}, expected {wanted}."
        hint, fix = self._hint(place, found, errors), self._value_fix(place, found)
        return self._draft.problem(self._dotted(place), message, hint, fix=fix)

    def _value_fix(self, place: Path, found: Any) -> Fix | None:
        """The nearest legal value, of an array's item in the whole array."""
        if self._dotted(place) in self._draft.references:
            return None
        field = field_at(self._model, place) if place else None
        if field is None and place and isinstance(place[-1], int):
            place = place[:-1]
            field, found = field_at(self._model, place) if place else None, self._value(place)
        value = nearest_legal(field, found) if field else None
        return None if value is None else Fix(action="set", key=self._dotted(place), value=value)

    def _examples(self, place: Path, kind: str) -> str:
        field = field_at(self._model, place) if place else None
        return examples_of(field) if kind == "string_pattern_mismatch" else ""

    def _describe(self, place: Path, found: Any) -> str:
        name = self._draft.references.get(self._dotted(place))
        return f"the value of env:{name}" if name else describe(found)

    def _hint(self, place: Path, found: Any, errors: Sequence[ErrorDetails]) -> str:
        if self._dotted(place) in self._draft.references and errors[0]["type"] in _NO_STRING:
            return "The value of a variable is a string; give numbers with --set."
        if errors[0]["type"] == "literal_error" and isinstance(found, str):
            named = place[:-1] if place and isinstance(place[-1], int) else place  # an array's item
            field = field_at(self._model, named) if named else None
            if near := did_you_mean(found, literals(field.annotation if field else None)):
                return near
        return self._about(place)

    def _unknown_key(self, place: Path) -> Problem:
        *parents, name = place
        table = model_at(self._model, parents)
        known = list(table.model_fields) if table else []
        word = "table" if isinstance(self._value(place), Mapping) else "key"
        message = f"{self._table_name(parents)} has no {word} {shorten(str(name))!r}."
        owners = self._owners(str(name))
        there = f"It belongs into {' or '.join(f'[{owner}]' for owner in owners)}." if owners else ""
        hint = there or did_you_mean(str(name), known) or _list_keys(known)
        fix = self._key_fix(place, owners, known)
        return self._draft.problem(self._dotted(place), message, hint, at_key=True, fix=fix)

    def _key_fix(self, place: Path, owners: Sequence[str], known: Sequence[str]) -> Fix | None:
        """The name or the table that was meant, unless that is taken; else to take the key out."""
        *parents, name = place
        if any("." in str(part) for part in place):
            return None  # a dotted key cannot say which one it is
        near = nearest(str(name), known)
        if len(owners) == 1:
            target: list[str | int] = [owners[0], name]
        else:
            target = [*parents, near] if near and not owners else []
        if not target or self._is_there(target):
            return Fix(action="unset", key=self._dotted(place))
        return Fix(action="rename", key=self._dotted(place), to=self._dotted(target))

    def _is_there(self, place: Sequence[str | int]) -> bool:
        *parents, name = place
        table: Any = self._tables
        for part in parents:
            table = table.get(part, {}) if isinstance(table, Mapping) else table[part]
        return not isinstance(table, Mapping) or name in table

    def _table_name(self, place: Sequence[str | int]) -> str:
        key = self._dotted(place)
        if not key:
            return "a recipe"
        return key if any(isinstance(part, int) for part in place) else f"[{key}]"

    def _owners(self, name: str) -> list[str]:
        """The tables that have the key that stands in a wrong one."""
        tables = {
            key: table
            for key, field in self._model.model_fields.items()
            if (table := table_model(field.annotation))
        }
        return [key for key, table in tables.items() if name in table.model_fields]

    def _missing_key(self, place: Path) -> Problem:
        *parents, name = place
        field = field_at(self._model, place)
        table = table_model(field.annotation) if field and not get_args(field.annotation) else None
        if table is not None:
            message = f"the table [{self._dotted(place)}] is missing."
            value: Any = sensible_table(table) or None
        else:
            expected = expected_by(model_at(self._model, parents), str(name))
            message = f"the key {str(name)!r} is missing, expected {expected}."
            value = sensible(field) if field else None
        fix = None if value is None else Fix(action="set", key=self._dotted(place), value=value)
        return self._draft.problem(self._dotted(place), message, self._about(place), fix=fix)

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
