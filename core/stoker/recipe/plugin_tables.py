"""The `[plugins.*]` tables: each is validated by its plugin's own `Config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

from stoker.capabilities import DEFAULTS, PRECISIONS, refusals, situation
from stoker.errors import PluginError
from stoker.plugin import Plugin
from stoker.recipe.draft import ENABLED, Draft, leaves
from stoker.recipe.environment import VARIABLES
from stoker.recipe.fields import field_at
from stoker.recipe.fixes import combination_fix, plugin_table_fix, refusal_fix
from stoker.recipe.problems import Fix, Problem, did_you_mean, nearest
from stoker.recipe.validation import validate_tables
from stoker.recipe.words import describe, shorten
from stoker.registry import combination_errors, installed_plugins, load_plugin_class

PluginClass = type[Plugin[Any]]
NO_SECRETS = (
    "secrets are not written into recipes; write env:NAME.",
    "NAME is that of an environment variable, set where the run is started.",
)


def load_plugin_classes(draft: Draft) -> tuple[dict[str, PluginClass], list[Problem]]:
    """Import the plugins that the draft switches on. A failing one is a problem at its table."""
    tables = draft.tables.get("plugins", {})
    classes: dict[str, PluginClass] = {}
    problems: list[Problem] = []
    for name, table in tables.items() if isinstance(tables, Mapping) else ():
        problem = _table_problem(draft, name, table)
        if problem is None and table.get(ENABLED, True):
            try:
                classes[name] = load_plugin_class(name)
            except PluginError as error:
                fix = Fix(action="switch_off", key=f"plugins.{name}")
                key = f"plugins.{name}"
                problem = draft.problem(key, error.message, error.hint, at_key=True, fix=fix)
        problems += [problem] if problem else []
    return classes, problems


def _table_problem(draft: Draft, name: str, table: Any) -> Problem | None:
    key = f"plugins.{name}"
    if name == VARIABLES:
        hint = f"{VARIABLES}:NAME stands for an environment variable."
        fix = Fix(action="unset", key=key)
        return draft.problem(key, f"no plugin can be called {name!r}.", hint, at_key=True, fix=fix)
    if name not in installed_plugins():
        hint = did_you_mean(name, installed_plugins()) or "`stoker plugins` lists what is installed."
        message = f"no plugin called {shorten(name)!r} is installed."
        return draft.problem(key, message, hint, at_key=True, fix=_name_fix(draft, name))
    if not isinstance(table, Mapping):
        hint = f"Write [plugins.{name}], or plugins.{name}.enabled = false to switch it off."
        fix = plugin_table_fix(key, table)
        return draft.problem(key, f"found {describe(table)}, expected a table.", hint, fix=fix)
    if not isinstance(table.get(ENABLED, True), bool):
        message = f"found {describe(table[ENABLED])}, expected a boolean."
        fix = Fix(action="set", key=f"{key}.{ENABLED}", value=str(table[ENABLED]).lower() != "false")
        return draft.problem(f"{key}.{ENABLED}", message, fix=fix)
    return None


def _name_fix(draft: Draft, name: str) -> Fix:
    """The installed plugin that was meant, unless it has a table already; else no table."""
    near, tables = nearest(name, installed_plugins()), draft.tables["plugins"]
    if near is None or near in tables:
        return Fix(action="unset", key=f"plugins.{name}")
    return Fix(action="rename", key=f"plugins.{name}", to=f"plugins.{near}")


def switched_on(draft: Draft) -> list[str]:
    """Names of the plugins that the draft asks for, whether they load or not."""
    tables = draft.tables.get("plugins")
    if not isinstance(tables, Mapping):
        return []
    return [
        name
        for name, table in tables.items()
        if not isinstance(table, Mapping) or table.get(ENABLED, True) is not False
    ]


def validate_options(
    draft: Draft, classes: Mapping[str, PluginClass]
) -> tuple[dict[str, BaseModel], list[Problem]]:
    """The plugins' options, where they are right.

    And what is wrong inside their tables, and with switching these plugins on together.
    """
    configs: dict[str, BaseModel] = {}
    problems: list[Problem] = []
    for name, plugin_class in classes.items():
        key, table = f"plugins.{name}", own_options(draft.tables["plugins"][name])
        secrets = {f"{key}.{secret}" for secret in literal_secrets(plugin_class.Config, table)}
        secrets -= draft.references.keys()
        problems += [draft.problem(secret, *NO_SECRETS) for secret in sorted(secrets)]
        config, found = validate_tables(plugin_class.Config, table, draft, key)
        problems += [problem for problem in found if problem.key not in secrets]
        if config is not None:
            configs[name] = config
    for name, sentence in combination_errors(classes):
        fix = combination_fix(name, sentence, classes)
        problems.append(draft.problem(f"plugins.{name}", sentence, at_key=True, fix=fix))
    problems += _refused(draft, classes, configs)
    return configs, problems


def _refused(
    draft: Draft, classes: Mapping[str, PluginClass], configs: Mapping[str, BaseModel]
) -> Iterator[Problem]:
    """Combinations of values that a plugin says do not work."""
    train = draft.tables.get("train")
    precision = train.get("precision", DEFAULTS["precision"]) if isinstance(train, Mapping) else ""
    if precision not in PRECISIONS or configs.keys() != classes.keys():
        return
    values = situation(precision, classes, configs)
    for name, refusal in refusals(classes, values):
        message, fix = f"{refusal.sentence(values)}.", refusal_fix(name, refusal, classes, configs)
        yield draft.problem(f"plugins.{name}", message, refusal.hint, at_key=True, fix=fix)


def own_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """A plugin's table without the key that belongs to the core."""
    return {key: value for key, value in table.items() if key != ENABLED}


def is_path_option(config: type[BaseModel], name: str) -> bool:
    """True for options typed as `pathlib.Path`; relative ones belong to the file that states them."""
    field = field_at(config, (name,))
    return field is not None and _mentions(field.annotation, Path)


def literal_secrets(config: type[BaseModel], table: Mapping[str, Any]) -> Iterator[str]:
    """Dotted keys of a plugin's table whose type says that they are secrets."""
    for key, value in leaves(table):
        path = [int(part) if part.isdigit() else part for part in key.split(".")]
        # Of an item of an array, or a key of a table that is no model, the nearest field is asked.
        found = (field_at(config, path[:length]) for length in range(len(path), 0, -1))
        field = next((each for each in found if each), None)
        is_empty = isinstance(value, (Mapping, list)) or value is None
        if field and not is_empty and _mentions(field.annotation, SecretStr, SecretBytes):
            yield key


def _mentions(annotation: Any, *types: type) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, types):
        return True
    return any(_mentions(argument, *types) for argument in get_args(annotation))
