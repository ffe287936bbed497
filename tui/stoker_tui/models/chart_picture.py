"""Draws a chart into rows of characters, each with the role that says how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from stoker_tui.models import chart_layout as layouts
from stoker_tui.models.braille import ASCII_LOOKS, braille
from stoker_tui.models.chart_axes import legend_cells, x_axis_cells, y_axis_cells
from stoker_tui.models.chart_layout import Buckets, Cell, Layout, YAxis
from stoker_tui.models.chart_marks import heads_of, lines_of
from stoker_tui.models.chart_view import ChartView, Curve
from stoker_tui.models.polyline import patterned, smoothed, trace
from stoker_tui.models.pyramid import is_number
from stoker_tui.models.series import Point


class Run(NamedTuple):
    """Characters of one role; roles are the component classes of the chart widget, or none."""

    text: str
    role: str


Row = tuple[Run, ...]


@dataclass(frozen=True)
class Picture:
    """A drawn chart: `height` rows of `width` characters."""

    rows: tuple[Row, ...]
    layout: Layout | None
    """Where things are, for a cursor; None where nothing is plotted."""

    @property
    def text(self) -> str:
        """The characters alone."""
        return "".join("".join(run.text for run in row).rstrip() + "\n" for row in self.rows)


class _Layer(NamedTuple):
    masks: list[int]
    role: str
    look: int


def draw(
    view: ChartView,
    width: int,
    height: int,
    *,
    plain: bool = False,
    cursor: float | None = None,
    legend: bool = True,
) -> Picture:
    """The chart in `width` by `height` characters.

    `plain`: ASCII only. `cursor` is an x. `legend`: with one, where there are several curves.
    """
    if width < layouts.LEAST_WIDTH or height < layouts.LEAST_HEIGHT:
        return written([view.heading], width, height)
    x_range = layouts.x_range_of(view)
    if x_range is None:
        return _centred("no value yet", width, height)
    layout = layouts.layout_of(view, x_range, width, height, plain, legend)
    axis = layouts.y_axis_of(view, layout)
    if axis is None and not layout.has_odd:
        return _centred("no value here" if view.x_range else "no value yet", width, height)
    axis = axis or YAxis(0.0, 1.0, log=False, labels={})
    layout = layouts.with_gutter(layout, axis.gutter)
    curves = layouts.bucketed(view, layout, layout.columns)
    rows = list(_rows(view, layout, axis, curves, cursor))
    return Picture(tuple(runs_of(row, width) for row in rows), layout)


def _rows(
    view: ChartView, layout: Layout, axis: YAxis, curves: Sequence[Buckets], cursor: float | None
) -> Iterable[list[Cell]]:
    plain = layout.is_plain
    indent: list[Cell] = [(" ", "")] * layout.gutter
    if layout.has_legend:
        yield indent + legend_cells(view, layout.width, plain)
    heads = heads_of(view, layout, curves, plain)
    if layout.has_heads:
        yield indent + heads
    lines = lines_of(view, layout, cursor, plain)
    layers = _layers(view, layout, axis, curves)
    for row in range(layout.rows):
        cells = _plot_row(layers, layout, row, lines, plain)
        if row == 0 and not layout.has_heads:
            cells = [head if head[1] == "odd" else cell for head, cell in zip(heads, cells, strict=True)]
        yield y_axis_cells(axis, layout, row, plain) + cells
    if layout.has_x_axis:
        yield x_axis_cells(view, layout)


def _layers(view: ChartView, layout: Layout, axis: YAxis, curves: Sequence[Buckets]) -> list[_Layer]:
    """What is drawn, front first."""
    scale = layouts.scale_of(axis, layout)
    front: list[_Layer] = []
    raw: list[_Layer] = []
    for index, (curve, buckets) in enumerate(zip(view.curves, curves, strict=True)):
        look = view.look(index)
        before, after = _ends(curve, layout)
        masks = trace(buckets, scale, before, after)
        if view.smoothing > 0:
            raw.append(_Layer(masks, "raw", look))
            masks = trace(smoothed(buckets, view.smoothing), scale)
        front.append(_Layer(patterned(masks, look, scale.dots), f"look-{look}", look))
    return front + raw


def _ends(curve: Curve, layout: Layout) -> tuple[tuple[float, Point] | None, tuple[float, Point] | None]:
    """The points next to both ends of what is shown, with their columns."""
    low, high = layout.x_range
    width = (high - low) / layout.columns

    def placed(point: Point | None) -> tuple[float, Point] | None:
        if point is None or not is_number(point.y):
            return None
        return (point.x - low) / width - 0.5, point

    return placed(curve.series.before(low)), placed(curve.series.after(high))


def _plot_row(
    layers: Sequence[_Layer], layout: Layout, row: int, lines: dict[int, Cell], plain: bool
) -> list[Cell]:
    rows = layout.raster.rows
    shift = (layout.rows - 1 - row) * rows
    full = (1 << rows) - 1
    cells: list[Cell] = []
    empty: Cell = (" ", "")
    for column in range(layout.width):
        cell = _plain_cell(layers, column, shift) if plain else _cell(layers, column, shift, full)
        cells.append(cell or lines.get(column, empty))
    return cells


def _cell(layers: Sequence[_Layer], column: int, shift: int, full: int) -> Cell | None:
    """The dots of all layers in the colour of the front one; raw curves only where nothing else is."""
    left = right = 0
    role = ""
    for masks, layer_role, _ in layers:
        one, other = masks[2 * column] >> shift & full, masks[2 * column + 1] >> shift & full
        if not one and not other:
            continue
        if role and layer_role == "raw":
            break
        left, right, role = left | one, right | other, role or layer_role
    return (braille(left, right), role) if role else None


def _plain_cell(layers: Sequence[_Layer], column: int, shift: int) -> Cell | None:
    for masks, role, look in layers:
        bits = masks[column] >> shift & 3
        if bits:
            return ASCII_LOOKS[look][bits - 1] if role != "raw" else "-", role
    return None


def runs_of(cells: Sequence[Cell], width: int) -> Row:
    """Cells as runs of one role each, cut or filled up to the width."""
    fitted = [*cells[:width], *[(" ", "")] * (width - len(cells))]
    return tuple(
        Run("".join(letter for letter, _ in group), role)
        for role, group in groupby(fitted, key=lambda cell: cell[1])
    )


def written(lines: Sequence[str], width: int, height: int) -> Picture:
    """Text, cut or filled up to the size."""
    rows = [(Run(line[:width].ljust(width), "note"),) for line in lines[:height]]
    rows += [(Run(" " * width, ""),)] * (height - len(rows))
    return Picture(tuple(rows), None)


def _centred(text: str, width: int, height: int) -> Picture:
    return written([""] * ((height - 1) // 2) + [text[:width].center(width)], width, height)
