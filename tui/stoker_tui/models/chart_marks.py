"""Marks on a chart: a letter above, and an upright line where the run was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stoker_tui.models.chart_layout import Buckets, Cell, Layout
from stoker_tui.models.chart_view import ChartView, MarkKind

_HEADS: Final[dict[MarkKind, str]] = {
    "evaluate": "e",
    "checkpoint": "c",
    "resume": "R",
    "preemption": "P",
    "alert": "!",
}
"""Least important first: where two share a place the later one is seen."""
_LINED: Final = frozenset({"resume", "preemption", "alert"})
"""Kinds that draw a line; the others are many, and would hide the curve."""

_DENSE: Final = 4
"""Letters of a kind without lines are left out where they are nearer than this: they say nothing."""


def heads_of(view: ChartView, layout: Layout, curves: Sequence[Buckets], plain: bool) -> list[Cell]:
    """The row above the plot: letters of marks, words where there is room, crosses for NaN."""
    letters: dict[int, Cell] = {}
    words: dict[int, str] = {}
    for kind, letter in _HEADS.items():
        found = _columns(view, layout, kind)
        if kind in _LINED or len(found) * _DENSE <= layout.width:
            letters.update(dict.fromkeys(found, (letter, "mark")))
            words.update(found)
    for column in _odd_columns(layout, curves):
        letters[column] = "x" if plain else "✗", "odd"
        words.pop(column, None)
    row = [letters.get(column, (" ", "")) for column in range(layout.width)]
    for column, word in words.items():
        _write(row, column + 2, word)
    return row


def lines_of(view: ChartView, layout: Layout, cursor: float | None, plain: bool) -> dict[int, Cell]:
    """Upright lines by column of the plot, the cursor's before all others."""
    lines: dict[int, Cell] = {}
    for mark in view.marks:
        column = layout.column(mark.x)
        if column is not None and mark.kind in _LINED:
            lines[column] = ":" if plain else "┊", "mark"
    here = None if cursor is None else layout.column(cursor)
    if here is not None:
        lines[here] = "|" if plain else "│", "cursor"
    return lines


def _columns(view: ChartView, layout: Layout, kind: MarkKind) -> dict[int, str]:
    """The label of the last mark of a kind, by column of the plot."""
    found: dict[int, str] = {}
    for mark in view.marks:
        column = layout.column(mark.x) if mark.kind == kind else None
        if column is not None:
            found[column] = mark.label
    return found


def _odd_columns(layout: Layout, curves: Sequence[Buckets]) -> set[int]:
    """Characters in which a value is not finite."""
    return {
        at // layout.raster.columns
        for buckets in curves
        for at, bucket in enumerate(buckets)
        if bucket is not None and bucket.odd
    }


def _write(row: list[Cell], start: int, word: str) -> None:
    """Put a word into the row if nothing is in its way."""
    stop = start + len(word)
    if word and stop < len(row) and all(cell[0] == " " for cell in row[start - 1 : stop + 1]):
        row[start:stop] = [(letter, "mark") for letter in word]
