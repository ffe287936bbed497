"""A chart in its frame, what its cursor reads, and what of it must be written again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from math import isnan
from typing import NamedTuple

from stoker_tui.models.chart_frame import Frame
from stoker_tui.models.chart_layout import LEAST_HEIGHT, LEAST_WIDTH, Layout
from stoker_tui.models.chart_picture import Picture, Row, Run, draw, written
from stoker_tui.models.chart_ticks import figure, x_word
from stoker_tui.models.chart_view import ChartView


class Box(NamedTuple):
    """A framed chart, and where its plot starts."""

    picture: Picture
    left: int
    top: int

    @property
    def layout(self) -> Layout | None:
        """Of the plot, without the frame."""
        return self.picture.layout

    def column(self, x: int) -> int | None:
        """The column of the plot at the column `x` of the box; None outside."""
        if self.layout is None:
            return None
        column = x - self.left - self.layout.gutter
        return column if 0 <= column < self.layout.width else None


class Patch(NamedTuple):
    """Characters of one row that differ between two pictures."""

    x: int
    y: int
    width: int


def box(
    view: ChartView, width: int, height: int, *, plain: bool = False, cursor: float | None = None
) -> Box:
    """The chart in a frame where there is room for one; under its heading else; at least the heading."""
    if width >= LEAST_WIDTH + 2 and height >= LEAST_HEIGHT + 3:
        frame = Frame(view, width, plain)
        legend = not frame.has_legend
        inner = draw(view, width - 2, height - 2, plain=plain, cursor=cursor, legend=legend)
        readout = readout_of(view, cursor) if cursor is not None else ""
        return Box(Picture(tuple(frame.around(inner.rows, readout)), inner.layout), 1, 1)
    if width >= LEAST_WIDTH and height > LEAST_HEIGHT:
        inner = draw(view, width, height - 1, plain=plain, cursor=cursor)
        heading = (Run(view.heading[:width].ljust(width), "title"),)
        return Box(Picture((heading, *inner.rows), inner.layout), 0, 1)
    return Box(written([view.heading], width, height), 0, 0)


def readout_of(view: ChartView, x: float) -> str:
    """What all curves are at the points nearest to `x`, and where: said once if it is one place."""
    words: list[str] = []
    here = ""
    for curve in view.curves:
        point = curve.series.nearest(x)
        if point is None:
            continue
        place = _exact(view.x_label, point.x)
        if not words:
            here = place
            words.append(f"{view.x_label} {here}")
        name = f"{curve.label} " if len(view.curves) > 1 else ""
        value = "-" if isnan(point.y) else figure(point.y)
        words.append(f"{name}{value}" if place == here else f"{name}{value} at {place}")
    return "  ".join(words)


def changes(before: Picture, after: Picture) -> list[Patch]:
    """What must be written again, row by row, for pictures of the same size."""
    found: list[Patch] = []
    for y, (old, new) in enumerate(zip(before.rows, after.rows, strict=True)):
        if old == new:
            continue
        pairs = zip_longest(_cells(old), _cells(new))
        different = [x for x, (was, now) in enumerate(pairs) if was != now]
        if different:
            found.append(Patch(different[0], y, different[-1] - different[0] + 1))
    return found


def _exact(x_label: str, x: float) -> str:
    return f"{x:.0f}" if x_label == "step" else x_word(x_label, x)


def _cells(row: Row) -> Iterator[tuple[str, str]]:
    for text, role in row:
        for letter in text:
            yield letter, role
