"""Fixes that ask for more than one key, and which of all fixes the recipe's own text can take."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stoker.capabilities import PRECISIONS, Refusal, refusals, situation
from stoker.errors import PluginError
from stoker.plugin import Plugin
from stoker.recipe.draft import ENABLED, Draft
from stoker.recipe.environment import conceal
from stoker.recipe.problems import Fix, Problem
from stoker.registry import combination_errors, installed_plugins, load_plugin_class

Classes = Mapping[str, type[Plugin[Any]]]


def length_fix(train: Mapping[str, Any]) -> Fix:
    """Exactly one of steps and epochs: of both the exact one stays."""
    if "epochs" in train:
        return Fix(action="unset", key="train.epochs")
    return Fix(action="set", key="train.epochs", value=1)


def name_fix(draft: Draft, key: str) -> Fix | None:
    """A run's name made from that of the file."""
    name = re.sub(r"[^a-z0-9._-]+", "-", draft.recipe.path.stem.lower()).strip("-._")[:64]
    if not name:
        return None
    return Fix(action="set", key=key, value=name if key == "run.name" else {"name": name})


def combination_fix(name: str, sentence: str, classes: Classes) -> Fix:
    """A plugin that is needed is switched on; else the one that complains off."""
    for required in classes[name].requires:
        if required in installed_plugins() and required not in classes:
            try:
                more = {**classes, required: load_plugin_class(required)}
            except PluginError:
                continue
            if (name, sentence) not in combination_errors(more):
                return Fix(action="switch_on", key=f"plugins.{required}")
    return Fix(action="switch_off", key=f"plugins.{name}")


def refusal_fix(name: str, refusal: Refusal, classes: Classes, configs: Mapping[str, Any]) -> Fix:
    """What the plugin says, or a precision that it takes; else the plugin is switched off."""
    if refusal.fix is not None:
        return refusal.fix
    for precision in PRECISIONS if "precision" in refusal.where else ():
        if not list(refusals(classes, situation(precision, classes, configs))):
            return Fix(action="set", key="train.precision", value=precision)
    return Fix(action="switch_off", key=f"plugins.{name}")


def with_usable_fixes(
    problems: Sequence[Problem], draft: Draft, values: Mapping[str, str]
) -> list[Problem]:
    """Without fixes that the recipe's own text cannot take, or that would show a variable's value.

    What is missing where a misspelt key says it is mended by the right spelling.
    """
    usable = [_with_usable(problem, draft, values) for problem in problems]
    renamed = {each.fix.to: each.fix for each in usable if each.fix and each.fix.action == "rename"}
    return [
        replace(each, fix=renamed[each.key]) if each.fix and each.key in renamed else each
        for each in usable
    ]


def _with_usable(problem: Problem, draft: Draft, values: Mapping[str, str]) -> Problem:
    fix = problem.fix
    if fix is None:
        return problem
    fix = _respelt(fix, draft)
    text = json.dumps(fix.value, default=str)
    usable = _is_writable(fix, draft) and conceal(text, values) == text
    return replace(problem, fix=fix if usable else None)


def _is_writable(fix: Fix, draft: Draft) -> bool:
    if any(draft.is_overridden(key) for key in (fix.key, fix.to) if key):
        return False
    around = fix.key.rpartition(".")[0]
    if around and not isinstance(_written(draft, around), (Mapping, list, type(None))):
        return False
    if fix.action.startswith("switch") and isinstance(_written(draft, around), list):
        return False
    if fix.action in ("unset", "rename"):
        # What a base recipe says cannot be taken back, only replaced.
        below = any(fix.key in layer.positions for layer in draft.layers[:-1])
        return fix.key in draft.recipe.positions and not below
    # An array replaces the one of the base as a whole.
    array = re.match(r"(.*?)\.[0-9]+(\.|$)", fix.key)
    return array is None or array[1] in draft.recipe.positions


def _respelt(fix: Fix, draft: Draft) -> Fix:
    """With a local path as the author writes paths: relative to the recipe."""
    value = fix.value
    if fix.action != "set" or not isinstance(value, str) or not os.path.isabs(value):
        return fix
    written = _written(draft, fix.key)
    if isinstance(written, str) and not os.path.isabs(os.path.expanduser(written)):
        relative = os.path.relpath(value, draft.folder_of(fix.key))
        return replace(fix, value=f"./{relative}" if written.startswith("./") else relative)
    return fix


def _written(draft: Draft, key: str) -> Any:
    """What the recipe's own text says, before paths are made absolute."""
    value: Any = draft.recipe.tables
    for part in key.split("."):
        if isinstance(value, Sequence) and not isinstance(value, str) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def plugin_table_fix(key: str, table: Any) -> Fix:
    """A table in the place of what is none."""
    return Fix(action="set", key=key, value={} if table is not False else {ENABLED: False})
