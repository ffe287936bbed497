"""`env:NAME` in a recipe stands for the value of an environment variable.

Recipes, locks, events and messages show the text `env:NAME`; only what uses a recipe sees the value.
A reference is known by its dotted key, so that it can be put back in the place of the value.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stoker.errors import UsageError
from stoker.recipe.draft import ENABLED, leaves
from stoker.recipe.problems import Problem
from stoker.recipe.words import shorten

VARIABLES = "env"
"""Stands where a plugin's name could, so no plugin can have it."""
_REFERENCE = re.compile(rf"{VARIABLES}:([A-Za-z_][A-Za-z0-9_]*)")
# Shorter values may be part of any sentence; messages about their own key are cleared of them, too.
SECRET_LENGTH = 8


def find_references(tables: Mapping[str, Any]) -> dict[str, str]:
    """Names of variables by dotted key. Plugins that are switched off need none."""
    return {
        key: match[1]
        for key, value in leaves(_used(tables))
        if isinstance(value, str) and (match := _REFERENCE.fullmatch(value))
    }


def _used(tables: Mapping[str, Any]) -> dict[str, Any]:
    plugins = tables.get("plugins")
    if not isinstance(plugins, Mapping):
        return dict(tables)
    used = {
        name: table
        for name, table in plugins.items()
        if not isinstance(table, Mapping) or table.get(ENABLED, True) is not False
    }
    return {**tables, "plugins": used}


def unusable(references: Mapping[str, str]) -> dict[str, str]:
    """By dotted key, what is wrong with the variables that have no value which can be used."""
    complaints = {key: _complaint(name) for key, name in references.items()}
    return {key: complaint for key, complaint in complaints.items() if complaint}


def _complaint(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        return f"environment variable {name} is not set here."
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"the value of environment variable {name} is not UTF-8 text."
    return ""


def require_values(references: Mapping[str, str]) -> None:
    """Raise `UsageError` with every variable that cannot be used."""
    if wrong := unusable(references):
        raise UsageError(
            " ".join(f"{key}: {complaint}" for key, complaint in wrong.items()),
            hint="Set it where the run is started, on every node.",
        )


def with_values(tables: Mapping[str, Any], references: Mapping[str, str]) -> dict[str, Any]:
    """A copy of tables with values in the place of references; those without a value stay."""
    wrong = unusable(references)
    values = {key: os.environ[name] for key, name in references.items() if key not in wrong}
    return put(tables, values)


def with_references(tables: Mapping[str, Any], references: Mapping[str, str]) -> dict[str, Any]:
    """A copy of tables with `env:NAME` in the place of values."""
    return put(tables, {key: f"env:{name}" for key, name in references.items()})


def put(tables: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of tables with other values at some dotted keys."""
    copied: dict[str, Any] = _put(tables, values, "")
    return copied


def _put(value: Any, values: Mapping[str, Any], key: str) -> Any:
    if key in values:
        return values[key]
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping):
        return {name: _put(child, values, f"{prefix}{name}") for name, child in value.items()}
    if isinstance(value, list):
        return [_put(child, values, f"{prefix}{number}") for number, child in enumerate(value)]
    return value


def without(value: Any, keys: Collection[str], key: str = "") -> Any:
    """A copy of tables without the values at some dotted keys."""
    prefix = f"{key}." if key else ""
    if isinstance(value, Mapping):
        kept = (name for name in value if f"{prefix}{name}" not in keys)
        return {name: without(value[name], keys, f"{prefix}{name}") for name in kept}
    if isinstance(value, list):
        numbers = (number for number in range(len(value)) if f"{prefix}{number}" not in keys)
        return [without(value[number], keys, f"{prefix}{number}") for number in numbers]
    return value


def values_behind(tables: Mapping[str, Any], references: Mapping[str, str]) -> dict[str, str]:
    """`env:NAME` by each text that is its value: as it is set, and as an absolute path."""
    if not references:
        return {}
    used = dict(leaves(tables))
    texts = ((name, (os.environ.get(name), used.get(key))) for key, name in references.items())
    return {
        text: f"env:{name}"
        for name, both in texts
        for text in both
        if isinstance(text, str) and text not in ("", f"env:{name}")
    }


def conceal(text: str, values: Mapping[str, str], at_least: int = SECRET_LENGTH) -> str:
    """A text with `env:NAME` in the place of values of at least so many characters."""
    shown: dict[str, str] = {}
    for value, reference in values.items():
        if len(value) >= at_least:
            shown |= dict.fromkeys(_spellings(value), reference)
    if not shown:
        return text
    longest_first = sorted(shown, key=len, reverse=True)
    pattern = "|".join(_pattern(spelling) for spelling in longest_first)
    return re.sub(pattern, lambda match: shown[match[0]], text)


def conceal_problems(
    problems: Sequence[Problem], values: Mapping[str, str], references: Collection[str]
) -> list[Problem]:
    """Problems that say `env:NAME`; one about a key with a reference shows no value however short."""
    concealed = []
    for problem in problems if values else ():
        at_least = 1 if _is_about(problem.key, references) else SECRET_LENGTH
        message, hint = (conceal(text, values, at_least) for text in (problem.message, problem.hint))
        concealed.append(replace(problem, message=message, hint=hint))
    return concealed if values else list(problems)


def _is_about(key: str, references: Collection[str]) -> bool:
    """True for a key with a reference, and for what is around or inside it."""
    pairs = ((f"{key}.", f"{reference}.") for reference in references)
    return any(one.startswith(other) or other.startswith(one) for one, other in pairs)


def _spellings(value: str) -> set[str]:
    """How messages write a value: plain, as Python or JSON does, and shortened."""
    quoted = (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False))
    plain = {value, *(each[1:-1] for each in quoted)}
    long = [each for each in plain if shorten(each) != each]
    return plain | {shorten(f"{quote}{each}")[len(quote) : -3] for each in long for quote in ("", '"')}


def _pattern(spelling: str) -> str:
    escaped = re.escape(spelling)
    return escaped if len(spelling) >= SECRET_LENGTH else rf"(?<!\w){escaped}(?!\w)"
