"""What can be combined with what: the choices that plugins offer, and the combinations they refuse.

Plugins declare both as data, on the class, so that `check` needs no instance and no torch. The matrix
of `stoker plugins --matrix` is computed from them, never written by hand. An axis is one question
(which engine? which precision?), a value one answer; a recipe has one value on each axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, get_args

from stoker.recipe.problems import Fix
from stoker.recipe.schema import Precision

if TYPE_CHECKING:
    from stoker.plugin import Plugin

DEFAULTS: Mapping[str, str] = {
    "engine": "default",
    "method": "full",
    "precision": "bf16_mixed",
    "checkpointing": "none",
    "attention": "default",
    "quantization": "none",
    "offload": "none",
    "weights": "whole",
}
"""What holds on each axis where no plugin says anything. Plugins may bring axes of their own.

`weights` says what a plugin's code finds in a parameter during a forward: the whole tensor (`whole`);
the whole tensor inside the block that it belongs to, a part elsewhere (`gathered`); a part but in the
very module that owns it (`sharded`).
"""

MATRIX_AXES = tuple(axis for axis in DEFAULTS if axis != "weights")
"""The axes whose combinations are all tested; `weights` follows from the engine."""

PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class Choice:
    """One value that a plugin gives to an axis, and the options that bring it about."""

    axis: str
    value: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Entries of the plugin's table. It is chosen where all of them hold; the longest match counts."""
    implies: Mapping[str, str] = field(default_factory=dict)
    """Values on other axes that follow, for example `{"weights": "sharded"}`."""
    needs_cuda: bool = False
    needs_memory: bool = False
    """It does not run on tensors without memory: `plan --measure` takes real ones."""
    example: Mapping[str, Any] = field(default_factory=dict)
    """Further entries that a table needs to be valid. In strings `{folder}` stands for an empty one."""


@dataclass(frozen=True)
class Refusal:
    """A combination that does not work, and why.

    `where` maps axes to a shell pattern, or several, for their values; the combination is refused
    where all of them match. One of the values should be the declaring plugin's own.
    """

    where: Mapping[str, str | tuple[str, ...]]
    reason: str
    """What does not work, as the rest of a sentence that begins with the values."""
    hint: str = ""
    fix: Fix | None = None
    """The change of a recipe that `hint` speaks of, where it is one."""

    def matches(self, situation: Mapping[str, str]) -> bool:
        """Whether `situation`, one value for each axis, is refused. A missing axis matches nothing."""
        return all(
            any(fnmatchcase(situation.get(axis, ""), pattern) for pattern in _several(patterns))
            for axis, patterns in self.where.items()
        )

    def sentence(self, situation: Mapping[str, str]) -> str:
        """The refusal in words, with the values that it is about."""
        values = " with ".join(f"{axis} {situation[axis]!r}" for axis in self.where)
        return f"{values}: {self.reason.rstrip('.')}"


def where_words(where: Mapping[str, str | tuple[str, ...]]) -> str:
    """The axes and patterns of a refusal in words."""
    return " with ".join(f"{axis} {' or '.join(_several(patterns))}" for axis, patterns in where.items())


def _several(patterns: str | tuple[str, ...]) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else patterns


def chosen(plugin_class: type[Plugin[Any]], config: Any) -> dict[str, str]:
    """The values that a configured plugin gives to its axes, with what they imply."""
    values: dict[str, str] = {}
    for axis in dict.fromkeys(choice.axis for choice in plugin_class.choices):
        fitting = [
            choice
            for choice in plugin_class.choices
            if choice.axis == axis
            and all(getattr(config, key, None) == value for key, value in choice.options.items())
        ]
        if fitting:
            choice = max(fitting, key=lambda each: len(each.options))
            values |= {axis: choice.value, **choice.implies}
    return values


def situation(
    precision: str, classes: Mapping[str, type[Plugin[Any]]], configs: Mapping[str, Any]
) -> dict[str, str]:
    """One value for each axis: what the configured plugins choose, over the defaults."""
    values = {**DEFAULTS, "precision": precision}
    for name, plugin_class in classes.items():
        if name in configs:
            values |= chosen(plugin_class, configs[name])
    return values


def refusals(
    classes: Mapping[str, type[Plugin[Any]]], values: Mapping[str, str]
) -> Iterator[tuple[str, Refusal]]:
    """The refusals that hold in a situation, each with the name of the plugin that declares it."""
    for name, plugin_class in sorted(classes.items()):
        for refusal in plugin_class.refuses:
            if refusal.matches(values):
                yield name, refusal


def needs_cuda(plugin_classes: Iterable[type[Plugin[Any]]], values: Mapping[str, str]) -> bool:
    """Whether one of the values runs on CUDA devices only."""
    return any(
        choice.needs_cuda and values.get(choice.axis) == choice.value
        for plugin_class in plugin_classes
        for choice in plugin_class.choices
    )


def needs_memory(plugin_classes: Iterable[type[Plugin[Any]]], values: Mapping[str, str]) -> bool:
    """Whether one of the values runs on real tensors only."""
    return any(
        choice.needs_memory and values.get(choice.axis) == choice.value
        for plugin_class in plugin_classes
        for choice in plugin_class.choices
    )
