"""The capability matrix: every combination of the plugins' choices, and whether it works.

A cell has one value on each axis. It is put together as a recipe would be, from tables of plugins, and
judged by the same rules as in `stoker check`; nothing here knows a plugin by name.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import ValidationError

from stoker.capabilities import DEFAULTS, MATRIX_AXES, PRECISIONS, Choice, refusals, situation
from stoker.plugin import Plugin
from stoker.registry import combination_errors

Classes = Mapping[str, type[Plugin[Any]]]
Verdict = Literal["works", "needs CUDA", "refused"]


@dataclass(frozen=True)
class Cell:
    """One combination and what is known about it."""

    values: Mapping[str, str]
    verdict: Verdict
    reason: str = ""
    """Why it is refused."""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The plugin tables of a recipe that asks for it; `{folder}` stands for an empty folder."""


class Matrix:
    """All choices of some plugins, by axis and value."""

    def __init__(self, classes: Classes) -> None:
        self.classes = dict(classes)
        self._offers: dict[tuple[str, str], list[tuple[str, Choice]]] = {}
        for name, plugin_class in sorted(classes.items()):
            for choice in plugin_class.choices:
                self._offers.setdefault((choice.axis, choice.value), []).append((name, choice))
        self._conflicts: dict[frozenset[str], str] = {}

    @cached_property
    def axes(self) -> dict[str, list[str]]:
        """Values by axis, the default first; the axes of the matrix, then those that plugins bring."""
        own = sorted({axis for axis, _ in self._offers} - DEFAULTS.keys())
        return {axis: self._values(axis) for axis in (*MATRIX_AXES, *own)}

    def _values(self, axis: str) -> list[str]:
        if axis == "precision":
            return [DEFAULTS[axis], *(name for name in PRECISIONS if name != DEFAULTS[axis])]
        offered = [value for offered, value in self._offers if offered == axis]
        return [DEFAULTS.get(axis, "default"), *offered]

    def cells(self, axes: Sequence[str] = MATRIX_AXES) -> Iterator[Cell]:
        """Every combination of values on `axes`, defaults on the others."""
        values = [self.axes[axis] for axis in axes]
        for combination in itertools.product(*values):
            yield self.cell(dict(zip(axes, combination, strict=True)))

    def cell(self, values: Mapping[str, str]) -> Cell:
        """One combination, judged. Axes that are not mentioned have their default."""
        full = {axis: values.get(axis, DEFAULTS.get(axis, "default")) for axis in self.axes}
        parts, problem = self._parts(full)
        if problem:
            return Cell(full, "refused", problem)
        tables = {name: _options(choices) for name, choices in parts.items()}
        classes = {name: self.classes[name] for name in tables}
        problem = self._conflict(classes) or self._refusal(full, classes, tables)
        if problem:
            return Cell(full, "refused", problem, tables)
        needs_cuda = any(choice.needs_cuda for choices in parts.values() for choice in choices)
        return Cell(full, "needs CUDA" if needs_cuda else "works", "", tables)

    def _parts(self, values: Mapping[str, str]) -> tuple[dict[str, list[Choice]], str]:
        """Which plugin makes which choices, or why no set of plugins makes them all."""
        wanted = [
            (axis, value)
            for axis, value in values.items()
            if axis != "precision" and value != DEFAULTS.get(axis, "default")
        ]
        for axis, value in wanted:
            if (axis, value) not in self._offers:
                return {}, f"no plugin offers {axis} {value!r}."
        parts: dict[str, list[Choice]] = {}
        # What one plugin alone offers decides who offers the rest.
        for axis, value in sorted(wanted, key=lambda each: len(self._offers[each])):
            offers = self._offers[axis, value]
            in_use = [offer for offer in offers if offer[0] in parts]
            if len(offers) > 1 and not in_use:
                return {}, f"{axis} {value!r} comes with {_owners(offers)}."
            name, choice = (in_use or offers)[0]
            parts.setdefault(name, []).append(choice)
        return parts, ""

    def _conflict(self, classes: Classes) -> str:
        names = frozenset(classes)
        if names not in self._conflicts:
            errors = combination_errors(classes) if classes else []
            self._conflicts[names] = errors[0][1] if errors else ""
        return self._conflicts[names]

    def _refusal(
        self, values: Mapping[str, str], classes: Classes, tables: Mapping[str, Mapping[str, Any]]
    ) -> str:
        try:
            configs = {name: classes[name].Config.model_validate(tables[name]) for name in tables}
        except ValidationError as error:
            return str(error.errors()[0]["msg"]).removeprefix("Value error, ").rstrip(".") + "."
        found = {**values, **situation(values["precision"], classes, configs)}
        for axis, value in values.items():
            if found[axis] != value:
                return f"{axis} {value!r} does not come with {_names(classes)}."
        for _, refusal in refusals(classes, found):
            return refusal.sentence(found) + "."
        return ""


def _names(classes: Iterable[str]) -> str:
    return " and ".join(f"plugin {name!r}" for name in sorted(classes))


def _owners(offers: Sequence[tuple[str, Choice]]) -> str:
    names = list(dict.fromkeys(repr(name) for name, _ in offers))
    if len(names) == 1:
        return f"the plugin {names[0]}, which is not used"
    return f"the plugins {' and '.join(names)}, of which none is used"


def _options(choices: Iterable[Choice]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for choice in choices:
        table |= {**choice.options, **choice.example}
    return table


def with_folder(table: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A cell's table with a real folder in the place of `{folder}`."""
    return {
        key: value.replace("{folder}", folder) if isinstance(value, str) else value
        for key, value in table.items()
    }


def pairwise(cells: Sequence[Cell]) -> list[Cell]:
    """A few of the cells in which every pair of values occurs that occurs in any of them.

    Greedy: always the cell with the most pairs that have not been seen; ties go to the first.
    """
    pairs = [set(itertools.combinations(sorted(cell.values.items()), 2)) for cell in cells]
    missing = set().union(*pairs)
    chosen: list[Cell] = []
    # A count can only fall, so an old one is a bound: hardly any is made again.
    counts = [(-len(own), number) for number, own in enumerate(pairs)]
    heapq.heapify(counts)
    while missing:
        count, number = heapq.heappop(counts)
        now = -len(pairs[number] & missing)
        if now == count:
            missing -= pairs[number]
            chosen.append(cells[number])
        else:
            heapq.heappush(counts, (now, number))
    return chosen


def verdict_of_pair(matrix: Matrix, one: tuple[str, str], other: tuple[str, str]) -> Cell:
    """The best that is possible where both values hold, with whatever else they need.

    A value may need another axis to have a certain value, such as an adapter under a quantized base.
    """
    ranks = {"works": 0, "needs CUDA": 1, "refused": 2}
    plain = matrix.cell(dict((one, other)))
    if plain.verdict == "works":
        return plain
    best = plain
    for axis, values in matrix.axes.items():
        if axis not in (one[0], other[0]):
            for value in values:
                cell = matrix.cell(dict((one, other, (axis, value))))
                if ranks[cell.verdict] < ranks[best.verdict]:
                    best = cell
    return best
