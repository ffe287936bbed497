"""Which template suits a set of plugins, and what templates set in a plugin's table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import tomli

from stoker.errors import PluginError
from stoker.scaffold.templates import Template, find_template, find_templates

WHOLE_MODEL = "full"
RAW_TEXT = "continued-pretraining"
"""The core's own templates, which use no plugin."""


def fitting_template(plugins: Collection[str], *, raw_text: bool = False) -> Template:
    """The template that uses most of `plugins` and none beside them; the core's own where none does.

    Raises `PluginError` for a template that is no TOML.
    """
    if raw_text:
        return _own(RAW_TEXT)
    fitting = [
        (len(tables), template)
        for template, tables in _offers()
        if template.plugin in plugins and tables and tables <= set(plugins)
    ]
    if not fitting:
        return _own(WHOLE_MODEL)
    return max(fitting, key=lambda each: each[0])[1]


def with_template_options(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Plugin tables over those options that the fitting template sets in them."""
    example = _plugin_tables(fitting_template(tables))
    return {name: {**example.get(name, {}), **table} for name, table in tables.items()}


def template_value(template: Template, table: str, key: str) -> Any:
    """What a template sets; None where it sets nothing."""
    return _parsed(template).get(table, {}).get(key)


@cache
def _own(name: str) -> Template:
    return find_template(name)


@cache
def _offers() -> tuple[tuple[Template, frozenset[str]], ...]:
    """All templates with the plugins that they use; looking for them takes milliseconds."""
    return tuple((each, frozenset(_plugin_tables(each))) for each in find_templates().values())


def _plugin_tables(template: Template) -> Mapping[str, Mapping[str, Any]]:
    tables: Mapping[str, Mapping[str, Any]] = _parsed(template).get("plugins", {})
    return tables


@cache
def _parsed(template: Template) -> Mapping[str, Any]:
    try:
        return tomli.loads(template.read())
    except tomli.TOMLDecodeError as error:
        raise PluginError(
            f"template {template.name!r} {template.origin} is not TOML: {error}.",
            hint=f"Look at {template.path}.",
        ) from error
