"""Calls hooks: one function per kind, resolved once per run.

pluggy registers, validates and lists. It does not call: it cannot order by `after` and `before`,
does not chain results, and after a raise skips the rest without naming anyone.
"""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from stoker import hookspecs
from stoker.errors import MissingRequirementError, PluginError, StokerError
from stoker.plugin import Plugin

STAGE_HOOKS = frozenset({"patch_model", "adapt_model", "checkpoint_activations", "compile_model"})


def hook_kind(name: str) -> str:
    """`notify`, `collect`, `stage`, `own` or `vote`, read off the hook's name."""
    if name in STAGE_HOOKS:
        return "stage"
    prefix = name.split("_", 1)[0]
    kinds = {"on": "notify", "collect": "collect", "should": "vote"}
    return kinds.get(prefix, "own")


BUILDING = frozenset({"stage", "own", "collect"})
"""Kinds whose results make the run what it is: a raise in them is fatal whatever the policy."""


def _is_fatal(hook: str, error: Exception) -> bool:
    """Whatever the policy: what builds the run, and what is not installed, while nothing is paid for."""
    missing = hook == "on_run_start" and isinstance(error, MissingRequirementError)
    return missing or hook_kind(hook) in BUILDING


HOOK_NAMES = tuple(
    name
    for name, member in vars(hookspecs).items()
    if inspect.isfunction(member) and hasattr(member, "stoker_spec")
)
"""All hooks, in the order of the timeline."""


@dataclass(frozen=True)
class Implementation:
    """One plugin's implementation of one hook."""

    plugin: Plugin[Any]
    plugin_name: str
    hook: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    takes_all: bool
    """Whether it asks for each argument of the hook: the dictionary then needs no copy."""

    def __call__(self, available: Mapping[str, Any]) -> Any:
        """Call with the arguments the implementation asked for; name plugin and hook on a raise."""
        try:
            if self.takes_all:
                return self.function(**available)
            return self.function(**{name: available[name] for name in self.arguments})
        except StokerError:
            raise
        except Exception as error:
            error.add_note(f"raised by plugin {self.plugin_name!r} in {self.hook}")
            raise


class Hooks:
    """The enabled plugins of one run, ready to be called in their order.

    `plugins` maps names to instances in the order in which they are to run. `report` is called
    with a sentence when a plugin whose policy is `degrade` raised and was left out.
    """

    def __init__(
        self,
        plugins: Mapping[str, Plugin[Any]] | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.plugins = dict(plugins or {})
        self.report = report or (lambda message: None)
        self._left_out: set[str] = set()
        self._implementations = {name: self._resolve(name) for name in HOOK_NAMES}

    def _resolve(self, hook: str) -> list[Implementation]:
        found = []
        specified = set(inspect.signature(getattr(hookspecs, hook)).parameters)
        for name, plugin in self.plugins.items():
            function = getattr(plugin, hook, None)
            if function is not None and hasattr(function, "stoker_impl"):
                arguments = tuple(inspect.signature(function).parameters)
                takes_all = specified == set(arguments)
                found.append(Implementation(plugin, name, hook, function, arguments, takes_all))
        return found

    def implementing(self, hook: str) -> list[str]:
        """Names of the plugins that implement `hook`, in calling order."""
        return [implementation.plugin_name for implementation in self._implementations[hook]]

    def _call_all(self, hook: str, arguments: Mapping[str, Any]) -> list[tuple[str, Any]]:
        results = []
        for implementation in self._implementations[hook]:
            try:
                results.append((implementation.plugin_name, implementation(arguments)))
            except Exception as error:
                if implementation.plugin.failure_policy != "degrade" or _is_fatal(hook, error):
                    raise
                self._leave_out(implementation.plugin_name, hook, error)
        return results

    def _leave_out(self, plugin_name: str, hook: str, error: Exception) -> None:
        self._left_out.add(plugin_name)
        # New lists: whoever walks through an old one is not disturbed.
        self._implementations = {
            name: [i for i in implementations if i.plugin_name != plugin_name]
            for name, implementations in self._implementations.items()
        }
        self.report(
            f"plugin {plugin_name!r} raised in {hook} and is left out of the rest of this run: "
            f"{type(error).__name__}: {error}"
        )

    def notify(self, hook: str, **arguments: Any) -> None:
        """Tell every plugin; results are ignored."""
        if self._implementations[hook]:
            self._call_all(hook, arguments)

    def stage(self, hook: str, **arguments: Any) -> None:
        """Let every plugin change the model in place, in order."""
        for name, result in self._call_all(hook, arguments):
            if result is not None:
                raise PluginError(
                    f"plugin {name!r} returned a {type(result).__name__} from {hook}.",
                    hint="Stage hooks change the model in place and return None.",
                )

    def collect(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """All results that are not None, each with the name of the plugin that gave it."""
        if not self._implementations[hook]:
            return []
        results = self._call_all(hook, arguments)
        return [(name, result) for name, result in results if result is not None]

    def collect_mapping(self, hook: str, **arguments: Any) -> dict[str, Any]:
        """Merge mappings. Two plugins that set one key to different values are an error."""
        merged: dict[str, Any] = {}
        said_by: dict[str, str] = {}
        for name, mapping in self.collect(hook, **arguments):
            for key, value in mapping.items():
                if key in merged and merged[key] != value:
                    raise PluginError(
                        f"plugins {said_by[key]!r} and {name!r} set {key!r} differently in {hook}: "
                        f"{merged[key]!r} and {value!r}.",
                        hint="Switch one of them off.",
                    )
                merged[key] = value
                said_by[key] = name
        return merged

    def own(
        self, hook: str, default: Callable[[], Any], *, plugin: str | None = None, **arguments: Any
    ) -> Any:
        """The one plugin's result, or the core's default. `plugin` asks that plugin only."""
        results = []
        for implementation in self._implementations[hook]:
            if plugin is None or implementation.plugin_name == plugin:
                result = implementation(arguments)
                if result is not None:
                    results.append((implementation.plugin_name, result))
        if len(results) > 1:
            raise PluginError(two_owners_message(hook, [name for name, _ in results]))
        return results[0][1] if results else default()

    def vote(self, hook: str, **arguments: Any) -> list[str]:
        """Names of the plugins on this rank that voted yes."""
        if not self._implementations[hook]:
            return []
        return [name for name, result in self._call_all(hook, arguments) if result]

    def tell_failure(self, **arguments: Any) -> None:
        """`on_exception` of every plugin; what one of them raises does not keep it from the others."""
        for implementation in self._implementations["on_exception"]:
            try:
                implementation(arguments)
            except Exception as error:
                # The first error is the one to show; this one goes to the log beside it.
                traceback.print_exception(error)

    def save_state(self) -> dict[str, Any]:
        """State of all plugins, by name, for a checkpoint. Raises what a fatal plugin raises."""
        states: dict[str, Any] = {}
        for name, plugin in self.plugins.items():
            state = self._guarded(name, "save_state", partial(_json_able, plugin))
            if state:
                states[name] = state
        return states

    def load_state(self, states: Mapping[str, Any]) -> None:
        """Give each plugin the state it saved; state of plugins that are gone is ignored."""
        for name, plugin in self.plugins.items():
            if name in states:
                self._guarded(name, "load_state", partial(plugin.load_state, states[name]))

    def _guarded(self, name: str, method: str, call: Callable[[], Any]) -> Any:
        """Call a method that is no hook with the same blame and the same policy."""
        if name in self._left_out:
            return None
        try:
            return call()
        except StokerError:
            raise
        except Exception as error:
            if self.plugins[name].failure_policy == "degrade":
                self._leave_out(name, method, error)
                return None
            error.add_note(f"raised by plugin {name!r} in {method}")
            raise


def _json_able(plugin: Plugin[Any]) -> dict[str, Any]:
    state = plugin.save_state()
    json.dumps(state, allow_nan=False)
    return state


def two_owners_message(hook: str, names: Sequence[str]) -> str:
    """The sentence for two plugins that both own a decision."""
    return (
        f"plugins {' and '.join(repr(name) for name in names)} both own {hook}; switch one of them off."
    )
