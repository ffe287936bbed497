"""Installed plugins, from the answer of the probe `plugins`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from stoker.doctor.child import Answer
from stoker.doctor.finding import Finding
from stoker.errors import PluginError
from stoker.registry import installed_plugins

GROUP = "plugins"


def examine_plugins(answer: Answer) -> list[Finding]:
    """One finding for each plugin: does it load, and do its hooks and options hold?"""
    try:
        points = installed_plugins()
    except PluginError as error:
        return [Finding(GROUP, "names", "error", error.message, error.hint)]
    if answer.value is None:
        return [Finding(GROUP, "all", "error", answer.failure, "stoker plugins NAME")]
    failures = answer.value["failures"]
    return [_examine(name, point, failures) for name, point in points.items()]


def _examine(name: str, point: EntryPoint, failures: Mapping[str, str]) -> Finding:
    origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    if name not in failures:
        return Finding(GROUP, name, "ok", origin)
    owner = point.dist.name if point.dist else name
    hint = f"pip install --force-reinstall --no-deps {owner}, or pip uninstall {owner}"
    return Finding(GROUP, name, "error", f"{origin}: {failures[name]}", hint)
