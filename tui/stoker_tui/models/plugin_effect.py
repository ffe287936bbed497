"""What a plugin adds to the plan of a recipe: planned with it and without, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.errors import StokerError
from stoker.run.lines import format_bytes, format_seconds
from stoker.run.numbers import number
from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.plugin_list import RecipeText
from stoker_tui.models.styled import Line, Piece, columns, line, wrap

Json = Mapping[str, Any]

_SUMS = ("allocated", "total", "capacity")


@dataclass(frozen=True)
class Effect:
    """Two plans of the same recipe on the same machine."""

    with_it: Json | None = None
    without: Json | None = None
    problem: str = ""
    """Why there are not two."""
    is_on: bool = False
    """Whether the recipe has it switched on."""


def measure(
    bench: Bench, recipe: RecipeText, plugin: str, is_on: bool, machine: Mapping[str, Any]
) -> Effect:
    """Plan with the plugin and without; blocks. `machine` are options of the bench's `plan`."""
    plans = []
    for enabled in ("true", "false"):
        # What the recipe says is planned as it is: it may not have a table of that name at all.
        same = is_on == (enabled == "true")
        overrides = [] if same else [f"plugins.{plugin}.enabled={enabled}"]
        try:
            answer = bench.plan(recipe.text, recipe.path, overrides, **machine)
        except StokerError as error:
            return Effect(problem=error.message, is_on=is_on)
        if answer.get("plan") is None:
            word = "with it" if enabled == "true" else "without it"
            return Effect(problem=f"{word}: {_why(answer)}", is_on=is_on)
        plans.append(answer["plan"])
    return Effect(plans[0], plans[1], is_on=is_on)


def effect_lines(effect: Effect, cells: int) -> list[Line]:
    """Memory by component, time, and how it is trained, where they differ."""
    if effect.problem:
        return wrap(f"cannot be planned {effect.problem}", cells, "warning")
    if effect.with_it is None or effect.without is None:
        return []
    rows = _memory(effect.with_it, effect.without) + _speed(effect.with_it, effect.without)
    words = _situation(effect.with_it, effect.without)
    lines = [line(Piece(f"{axis}: {before} -> {after}")) for axis, before, after in words]
    if not rows and not lines:
        return [line(Piece("no difference in memory or time", "muted"))]
    head = tuple(Piece(text, "muted") for text in ("", "without", "with", "difference"))
    return [*columns([head, *rows], "<>>>", "  "), *lines]


def _memory(with_it: Json, without: Json) -> list[tuple[Piece, ...]]:
    before, after = without.get("per_gpu", {}), with_it.get("per_gpu", {})
    names = [name for name in {**before, **after} if name not in _SUMS]
    pairs = [(name, number(before.get(name), 0.0), number(after.get(name), 0.0)) for name in names]
    pairs.append(("memory", number(before.get("total"), 0.0), number(after.get("total"), 0.0)))
    return [
        (
            Piece(name.replace("_", " ")),
            Piece(format_bytes(old)),
            Piece(format_bytes(new)),
            _change(old, new),
        )
        for name, old, new in pairs
        if old != new
    ]


def _change(old: float, new: float) -> Piece:
    sign = "+" if new > old else "-"
    return Piece(f"{sign}{format_bytes(abs(new - old))}", "warning" if new > old else "good")


def _speed(with_it: Json, without: Json) -> list[tuple[Piece, ...]]:
    old, new = (number((plan.get("hours") or {}).get("mid"), 0.0) for plan in (without, with_it))
    if not old or not new or abs(new - old) < old / 1000:
        return []
    change = f"{(new - old) / old:+.1%}"
    tone: Piece = Piece(change, "warning" if new > old else "good")
    return [(Piece("time"), Piece(format_seconds(old * 3600)), Piece(format_seconds(new * 3600)), tone)]


def _situation(with_it: Json, without: Json) -> list[tuple[str, str, str]]:
    before, after = without.get("situation", {}), with_it.get("situation", {})
    return [
        (axis, str(before.get(axis)), str(value))
        for axis, value in after.items()
        if before.get(axis) != value
    ]


def _why(answer: Json) -> str:
    unplanned = answer.get("unplanned") or {}
    if unplanned.get("message"):
        return f"{unplanned['message']} {unplanned.get('hint') or ''}".strip()
    errors = [each for each in answer.get("problems", ()) if each.get("severity") == "error"]
    if not errors:
        return "no reason given"
    return f"{errors[0].get('message', '')} {errors[0].get('hint') or ''}".strip()
