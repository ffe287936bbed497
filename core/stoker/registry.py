"""Discovery of plugins through entry points, and the per-run set of instances.

An installed plugin is listed from metadata alone; only plugins that a recipe names are imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy
from pydantic import ValidationError

from stoker import hookspecs
from stoker.dispatch import HOOK_NAMES, hook_kind, two_owners_message
from stoker.errors import PluginError, StokerError
from stoker.plugin import PROJECT_NAME, Plugin
from stoker.recipe.problems import did_you_mean

ENTRY_POINT_GROUP = "stoker.plugins"

# Asked of one named plugin, or allowed to answer None for what is not theirs.
SHARED_OWN_HOOKS = frozenset({"describe_model", "make_model_files", "make_tokenizer", "export_model"})


@cache
def installed_plugins() -> Mapping[str, EntryPoint]:
    """Entry points by plugin name, nothing imported. Two of one name are an error."""
    found: dict[str, EntryPoint] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        other = found.setdefault(entry_point.name, entry_point)
        if other.value != entry_point.value:
            raise PluginError(
                f"two installed plugins are called {entry_point.name!r}: {other.value} and "
                f"{entry_point.value}.",
                hint="Uninstall one of them.",
            )
    return dict(sorted(found.items()))


def load_plugin_class(name: str) -> type[Plugin[Any]]:
    """Import one plugin's class and validate its hooks.

    Raises `PluginError` naming the plugin for an unknown name, a failing import, a class that is
    not a `Plugin`, and hooks that do not match their specification.
    """
    entry_point = installed_plugins().get(name)
    if entry_point is None:
        hint = did_you_mean(name, installed_plugins()) or "`stoker plugins` lists what is installed."
        raise PluginError(f"no plugin called {name!r} is installed.", hint=hint)
    try:
        plugin_class = entry_point.load()
    except Exception as error:
        raise PluginError(
            f"plugin {name!r} ({entry_point.value}) failed to import: {type(error).__name__}: {error}",
            hint="Reinstall it or take it out of the recipe.",
        ) from error
    if not (inspect.isclass(plugin_class) and issubclass(plugin_class, Plugin)):
        raise PluginError(
            f"plugin {name!r}: {entry_point.value} is not a class derived from stoker.Plugin."
        )
    validate_hooks(name, plugin_class)
    return plugin_class


def validate_hooks(name: str, plugin_class: type[Plugin[Any]]) -> None:
    """Check every hook implementation of a class against its specification.

    Raises `PluginError` with the plugin, the hook, the signature found and the one expected.
    """
    for attribute, member in inspect.getmembers(plugin_class, inspect.isfunction):
        options = getattr(member, f"{PROJECT_NAME}_impl", None)
        if attribute in HOOK_NAMES and options is None:
            raise PluginError(
                f"plugin {name!r} defines {attribute} without @hookimpl.",
                hint="Decorate it with @hookimpl, or rename it if it is not meant to be a hook.",
            )
        if options is not None:
            _validate_implementation(name, attribute, member, options)


def _validate_implementation(name: str, hook: str, function: Any, options: Mapping[str, Any]) -> None:
    if hook not in HOOK_NAMES:
        raise PluginError(
            f"plugin {name!r} implements {hook}, which is no hook.",
            hint=did_you_mean(hook, HOOK_NAMES) or "stoker.hookspecs lists all hooks.",
        )
    expected = inspect.signature(getattr(hookspecs, hook))
    found = inspect.signature(function)
    parameters = list(found.parameters.values())[1:]
    signatures = f"Found: {hook}{found}. Expected any of: {', '.join(expected.parameters)}."
    unknown = [parameter.name for parameter in parameters if parameter.name not in expected.parameters]
    if unknown:
        raise PluginError(
            f"plugin {name!r}, hook {hook}: unknown argument {', '.join(unknown)}. {signatures}"
        )
    if any(parameter.default is not parameter.empty for parameter in parameters):
        raise PluginError(f"plugin {name!r}, hook {hook}: arguments may not have defaults. {signatures}")
    refused = [key for key in ("wrapper", "hookwrapper", "tryfirst", "trylast") if options.get(key)]
    if refused:
        raise PluginError(
            f"plugin {name!r}, hook {hook}: {', '.join(refused)} is not supported.",
            hint="Order plugins with their `after` and `before` attributes.",
        )


def configure_plugin(
    name: str, plugin_class: type[Plugin[Any]], table: Mapping[str, Any]
) -> Plugin[Any]:
    """Validate a recipe table and make the instance. Raises `PluginError` on a bad table."""
    try:
        return plugin_class(plugin_class.Config.model_validate(dict(table)))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in ("plugins", name, *first["loc"]))
        raise PluginError(f"{key}: {first['msg']}.") from error
    except StokerError:
        raise
    except Exception as error:
        raise PluginError(
            f"plugin {name!r} could not be made: {type(error).__name__}: {error}",
            hint="Look at its __init__, or take it out of the recipe.",
        ) from error


def order_plugins(classes: Mapping[str, type[Plugin[Any]]]) -> list[str]:
    """Names in calling order: topological by `after` and `before`, then by name.

    Raises `PluginError` when the declarations contradict each other.
    """
    named_by = _resolve_names(classes)
    graph: dict[str, set[str]] = {name: set() for name in sorted(classes)}
    for name, plugin_class in classes.items():
        for earlier in plugin_class.after:
            graph[name] |= named_by.get(earlier, set()) - {name}
        for later in plugin_class.before:
            for target in named_by.get(later, set()) - {name}:
                graph[target].add(name)
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise PluginError(f"plugins want to run before each other: {cycle}.") from error
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered.extend(ready)
        sorter.done(*ready)
    return ordered


def _resolve_names(classes: Mapping[str, type[Plugin[Any]]]) -> dict[str, set[str]]:
    """Which plugins a name in `requires`, `conflicts_with`, `after` or `before` stands for."""
    named_by: dict[str, set[str]] = {}
    for name, plugin_class in classes.items():
        for alias in {name, *plugin_class.provides}:
            named_by.setdefault(alias, set()).add(name)
    return named_by


def combination_errors(classes: Mapping[str, type[Plugin[Any]]]) -> list[tuple[str, str]]:
    """What is wrong with switching these plugins on together: (plugin name, sentence) pairs."""
    named_by = _resolve_names(classes)
    errors: list[tuple[str, str]] = []
    for name, plugin_class in sorted(classes.items()):
        for required in plugin_class.requires:
            if not named_by.get(required, set()) - {name}:
                errors.append((name, f"plugin {name!r} needs {required!r}, which no table switches on."))
        for unwanted in plugin_class.conflicts_with:
            for other in sorted(named_by.get(unwanted, set()) - {name}):
                errors.append((name, f"plugin {name!r} cannot be combined with {other!r}."))
    errors += _shared_ownership(classes)
    try:
        order_plugins(classes)
    except PluginError as error:
        errors.append((sorted(classes)[0], error.message))
    return errors


def _shared_ownership(classes: Mapping[str, type[Plugin[Any]]]) -> Iterable[tuple[str, str]]:
    for hook in HOOK_NAMES:
        if hook_kind(hook) == "own" and hook not in SHARED_OWN_HOOKS:
            owners = sorted(name for name, cls in classes.items() if hasattr(cls, hook))
            if len(owners) > 1:
                yield owners[-1], two_owners_message(hook, owners)


def make_plugins(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Plugin[Any]]:
    """Import, validate, order and instantiate the plugins a recipe names.

    Raises `PluginError` for the first thing that is wrong; nothing has been allocated then.
    """
    classes = {name: load_plugin_class(name) for name in tables}
    for _, message in combination_errors(classes):
        raise PluginError(message)
    plugins = {
        name: configure_plugin(name, classes[name], tables[name]) for name in order_plugins(classes)
    }
    _register(plugins)
    return plugins


def arrange(plugins: Mapping[str, Plugin[Any]]) -> dict[str, Plugin[Any]]:
    """Check instances that are at hand as `make_plugins` does, and put them in calling order.

    Raises `PluginError`.
    """
    classes = {name: type(plugin) for name, plugin in plugins.items()}
    for name, plugin_class in classes.items():
        validate_hooks(name, plugin_class)
    for _, message in combination_errors(classes):
        raise PluginError(message)
    ordered = {name: plugins[name] for name in order_plugins(classes)}
    _register(ordered)
    return ordered


def _register(plugins: Mapping[str, Plugin[Any]]) -> pluggy.PluginManager:
    """Let pluggy check every instance against the specifications too."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins.items():
        try:
            manager.register(plugin, name=name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            # pluggy before 1.7 leaves a plugin registered that failed validation.
            if manager.has_plugin(name):
                manager.unregister(name=name)
            raise PluginError(f"plugin {name!r}: {error}") from error
    return manager
