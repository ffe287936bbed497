"""The options of a plugin that a recipe leaves to the plugin, as values of the recipe.

The lock of a run holds them, so that a plugin whose defaults changed goes on with a run as it began it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stoker.recipe.draft import ENABLED
from stoker.recipe.environment import conceal
from stoker.recipe.plugin_tables import own_options


def complete_options(
    table: Mapping[str, Any], config: BaseModel, values: Mapping[str, str]
) -> dict[str, Any]:
    """A plugin's table with the defaults of its `Config`, written options as they were written.

    `values` are those of environment variables: a default that was made from one is left out.
    """

    def may_be_kept(default: Any) -> bool:
        text = json.dumps(default, allow_nan=False)
        return conceal(text, values) == text

    completed = own_options(_completed(own_options(table), config, may_be_kept))
    return {ENABLED: table[ENABLED], **completed} if ENABLED in table else completed


def _completed(
    written: Mapping[str, Any], config: BaseModel, may_be_kept: Callable[[Any], bool]
) -> dict[str, Any]:
    completed = dict(written)
    for name, field in type(config).model_fields.items():
        key, value = _key_of(name, field), getattr(config, name)
        if name not in config.model_fields_set:
            completed |= _default(written, config, name, key, may_be_kept)
        elif key in written:
            completed[key] = _completed_inside(written[key], value, may_be_kept)
    return completed


def _completed_inside(written: Any, value: Any, may_be_kept: Callable[[Any], bool]) -> Any:
    """Tables of a nested model, also inside arrays and tables of any keys."""
    if isinstance(written, Mapping) and isinstance(value, BaseModel):
        return _completed(written, value, may_be_kept)
    if isinstance(written, Mapping) and isinstance(value, Mapping):
        return {
            key: _completed_inside(each, value.get(key), may_be_kept) for key, each in written.items()
        }
    if isinstance(written, list) and isinstance(value, (list, tuple)) and len(written) == len(value):
        return [
            _completed_inside(each, item, may_be_kept) for each, item in zip(written, value, strict=True)
        ]
    return written


def _default(
    written: Mapping[str, Any],
    config: BaseModel,
    name: str,
    key: str,
    may_be_kept: Callable[[Any], bool],
) -> dict[str, Any]:
    """The default of a field by its key; nothing if JSON cannot give it back, as with secrets."""
    try:
        default = config.model_dump(mode="json", include={name}, warnings=False)[name]
        again = type(config).model_validate({**written, key: default})
        is_same = bool(getattr(again, name) == getattr(config, name))
        return {key: default} if is_same and may_be_kept(default) else {}
    except Exception:
        # Whatever a plugin's own types raise, its default is as good without the lock.
        return {}


def _key_of(name: str, field: FieldInfo) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else name
