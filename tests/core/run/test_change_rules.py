"""Every key of every recipe has one class, and docs/resume.md says which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from stoker.recipe.schema import RecipeTables
from stoker.registry import installed_plugins, load_plugin_class
from stoker.run.change_rules import RULES, ChangeClass, class_of, covers

PAGE = (Path(__file__).parents[3] / "docs/resume.md").read_text()
DOCUMENTED = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| (\w+) \|", PAGE, re.MULTILINE))
CLASSES = get_args(ChangeClass)
PLUGINS = sorted(installed_plugins())


def core_keys() -> Iterator[str]:
    for table, field in RecipeTables.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from (f"{table}.{key}" for key in annotation.model_fields)


def test_every_key_of_the_core_has_exactly_one_rule() -> None:
    for key in core_keys():
        assert sum(covers(rule, key) for rule in RULES) == 1, key
    assert set(RULES.values()) == set(CLASSES)


def test_every_rule_is_about_a_key() -> None:
    for rule in RULES:
        assert any(covers(rule, key) for key in core_keys()), rule


def declared_by(name: str) -> dict[str, str]:
    plugin = load_plugin_class(name)
    safe = dict.fromkeys(plugin.safe_on_resume, "safe")
    return safe | dict.fromkeys(plugin.forbidden_on_resume, "forbidden")


@pytest.mark.parametrize("name", PLUGINS)
def test_plugins_speak_of_options_they_have(name: str) -> None:
    plugin = load_plugin_class(name)
    declared = declared_by(name)
    assert len(declared) == len(plugin.safe_on_resume) + len(plugin.forbidden_on_resume), "once each"
    assert declared.keys() <= {"enabled", *plugin.Config.model_fields}
    for option in ("enabled", *plugin.Config.model_fields):
        assert class_of(f"plugins.{name}.{option}") == declared.get(option, "allow")
    assert class_of(f"plugins.{name}") == declared.get("enabled", "allow")


def test_the_page_has_every_rule_and_no_other() -> None:
    own = {
        f"plugins.{name}.{option}": rule
        for name in PLUGINS
        if load_plugin_class(name).__module__.startswith("stoker_plugins.")
        for option, rule in declared_by(name).items()
    }
    assert {**RULES, **own} == DOCUMENTED


def test_a_plugin_that_is_not_there_any_more_may_be_left_out_if_that_is_meant() -> None:
    assert class_of("plugins.gone") == "allow"
