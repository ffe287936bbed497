"""What is written around a plot: numbers on both axes, the legend."""

from __future__ import annotations

from stoker_tui.models.braille import ASCII_SAMPLES, SAMPLES
from stoker_tui.models.chart_layout import Cell, Layout, YAxis
from stoker_tui.models.chart_ticks import x_ticks, x_word
from stoker_tui.models.chart_view import ChartView

_WIDTH_PER_TICK = 10


def y_axis_cells(axis: YAxis, layout: Layout, row: int, plain: bool) -> list[Cell]:
    """The number at a row of the plot, and the axis."""
    if not layout.gutter:
        return []
    label = axis.labels.get(row, "")
    tick = ("|" if plain else "┤") if label else ("|" if plain else "│")
    return [(letter, "axis") for letter in label.rjust(layout.gutter - 1) + tick]


def x_axis_cells(view: ChartView, layout: Layout) -> list[Cell]:
    """Numbers under their places."""
    line = [" "] * (layout.gutter + layout.width)
    low, high = layout.x_range
    free = 0
    for number in x_ticks(view.x_label, low, high, max(2, layout.width // _WIDTH_PER_TICK)):
        word = x_word(view.x_label, number)
        column = layout.column(number)
        if column is None:
            continue
        start = min(max(layout.gutter + column - len(word) // 2, 0), len(line) - len(word))
        if start >= free:
            line[start : start + len(word)] = word
            free = start + len(word) + 1
    return [(letter, "axis") for letter in line]


def legend_cells(view: ChartView, width: int, plain: bool) -> list[Cell]:
    """Samples and names of as many curves as there is room for, and how many more there are."""
    samples = ASCII_SAMPLES if plain else SAMPLES
    cells: list[Cell] = []
    for index, curve in enumerate(view.curves):
        left = len(view.curves) - index
        rest = f"+{left - 1}" if left > 1 else ""
        name = f" {curve.label}  "
        if index and len(cells) + len(samples[0]) + len(name.rstrip()) + len(rest) > width:
            return cells + [(letter, "note") for letter in f"+{left}"]
        look = view.look(index)
        cells += [(letter, f"look-{look}") for letter in samples[look]]
        cells += [(letter, "note") for letter in name]
    return cells
