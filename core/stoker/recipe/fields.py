"""Finds fields of nested pydantic models by the path of keys that leads to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stoker.recipe.words import schema_words, with_article


def field_at(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """The field that a path of keys and item numbers leads to, through tables and arrays of them."""
    *parents, name = path
    table = model_at(model, parents)
    return table.model_fields.get(str(name)) if table else None


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the table that a path leads to."""
    table: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str):
            field = table.model_fields.get(part) if table else None
            table = table_model(field.annotation) if field else None
    return table


def table_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside `Model`, `list[Model]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (table_model(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)


def expected_by(table: type[BaseModel] | None, name: str) -> str:
    """The type of a field of a table: `an integer`, `an array of table`."""
    if table is None or name not in table.model_fields:
        return "a value"
    schema = table.model_json_schema()["properties"]
    return with_article(schema_words(schema[name]))


def literals(annotation: Any) -> list[str]:
    """The strings of a `Literal`, also inside a union."""
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else literals(argument)
    return found
