"""Puts a user's values into a template; comments stay."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, SingleKey

from stoker.errors import PluginError, UsageError
from stoker.recipe.checks import EVAL_FRACTION
from stoker.recipe.paths import plugin_of
from stoker.recipe.problems import did_you_mean
from stoker.recipe.words import toml_text
from stoker.registry import installed_plugins
from stoker.scaffold.settings import Setting, put_settings
from stoker.scaffold.templates import Template
from stoker.scaffold.values import Values, checked_name, data_format_of, written_path

if TYPE_CHECKING:
    from stoker.recipe.schema import DataFormat


def fill(
    template: Template,
    values: Values,
    folder: Path,
    settings: Iterable[Setting] = (),
    heading: Iterable[str] = (),
) -> str:
    """The text of a recipe that will lie in `folder`, with `settings` put over the template's.

    `heading` are lines that take the place of the template's summary. Raises `UsageError` for values
    that cannot be, `PluginError` for a template that is broken.
    """
    document = _parse(template)
    _put(_table(template, document, "run"), "name", checked_name(values.name))
    if values.model is not None:
        model = _table(template, document, "model")
        _put(model, "path", written_path(values.model, folder))
        # It was a commit of the other model.
        model.pop("revision", None)
    if values.data is not None:
        _put_data(_table(template, document, "data"), values.data, values.data_format, folder)
    elif values.data_format is not None:
        raise UsageError("--format says how --data is laid out.", hint="Add --data PATH.")
    settings = list(settings)
    stated = {each.key.split(".")[1] for each in settings if each.key.startswith("plugins.")}
    provided = _tables_of_providers(document, [values.model, values.data], stated)
    text = put_settings(document, settings) + provided
    lines = "".join(f"# {line}".rstrip() + "\n" for line in heading)
    return text.replace(f"# {template.summary}\n", lines, 1) if lines else text


def _parse(template: Template) -> TOMLDocument:
    try:
        return tomlkit.parse(template.read())
    except TOMLKitError as error:
        raise PluginError(
            f"template {template.name!r} {template.origin} is not TOML: {error}.",
            hint=f"Look at {template.path}.",
        ) from error


def _table(template: Template, document: TOMLDocument, name: str) -> AbstractTable:
    table = document.get(name)
    if not isinstance(table, AbstractTable):
        raise PluginError(
            f"template {template.name!r} {template.origin} has no table [{name}] in one place.",
            hint=f"Look at {template.path}.",
        )
    return table


def _put(table: AbstractTable, key: str, value: str) -> None:
    """Set a key; the comment behind it stays in its column if it can."""
    before = table.get(key)
    table[key] = value
    if before is not None:
        trivia = table[key].trivia
        longer = len(table[key].as_string()) - len(before.as_string())
        trivia.comment_ws = trivia.comment_ws and " " * max(2, len(trivia.comment_ws) - longer)


def _put_data(data: AbstractTable, path: str, stated: str | None, folder: Path) -> None:
    source = {"path": written_path(path, folder)}
    if data_format := data_format_of(path, stated, _own_format(data)):
        source["format"] = data_format
    data["train"] = tomlkit.value(toml_text([source]))
    _hold_out(data)


def _own_format(data: AbstractTable) -> DataFormat | None:
    sources = data.get("train")
    first = sources[0] if sources else None
    return first.get("format") if isinstance(first, MutableMapping) else None


def _hold_out(data: AbstractTable) -> None:
    """A share of the training rows instead of `eval`, in its place, so that comments still fit."""
    share: Any = tomlkit.item(EVAL_FRACTION)
    body = data.value.body
    for place, (key, item) in enumerate(body):
        if key is not None and key.key == "eval" and "eval_fraction" not in data:
            share.trivia.comment_ws, share.trivia.comment = item.trivia.comment_ws, item.trivia.comment
            body[place] = (SingleKey("eval_fraction"), share)
            return
    data.pop("eval", None)
    data["eval_fraction"] = share


def _tables_of_providers(document: TOMLDocument, paths: list[str | None], stated: set[str]) -> str:
    """A table for each plugin that provides one of the paths; one that is there is switched on.

    Tables of `stated` plugins come with the settings.
    """
    tables: Any = document.get("plugins", {})
    added: dict[str, str] = {}
    for path in paths:
        plugin = plugin_of(path) if path else None
        if plugin is None:
            continue
        if plugin not in installed_plugins():
            hint = did_you_mean(plugin, installed_plugins()) or "`stoker plugins` lists them."
            raise UsageError(f"{path!r}: no plugin called {plugin!r} is installed.", hint=hint)
        if plugin in tables:
            tables[plugin].pop("enabled", None)
        elif plugin not in stated:
            added.setdefault(plugin, f"\n[plugins.{plugin}]\n")
    return "".join(added.values())
