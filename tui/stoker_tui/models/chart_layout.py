"""Where the parts of a chart are: legend, row of marks, axes, plot; and which numbers it spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf

from stoker_tui.models.braille import ASCII, BRAILLE, Raster
from stoker_tui.models.chart_range import Range, nice_below, settled, union
from stoker_tui.models.chart_ticks import figure, figures, log_ticks, ticks
from stoker_tui.models.chart_view import ChartView
from stoker_tui.models.polyline import LEAST, Scale
from stoker_tui.models.series import Bucket

Buckets = Sequence[Bucket | None]
Cell = tuple[str, str]
"""A character and its role."""

LEAST_WIDTH = 10
LEAST_HEIGHT = 2
_LEAST_PLOT_WIDTH = 5
_ROWS_PER_TICK = 3
_FLAT = 1e-12
"""Of the values: less apart is rounding."""


@dataclass(frozen=True)
class Layout:
    """The plot and what is around it, in characters."""

    x_range: Range
    gutter: int
    """Width of the y labels and the axis."""
    width: int
    """Of the plot."""
    rows: int
    """Of the plot."""
    has_legend: bool
    has_heads: bool
    has_odd: bool
    """Whether a value that is not finite is in sight."""
    has_x_axis: bool
    raster: Raster

    @property
    def is_plain(self) -> bool:
        """Whether it is drawn in ASCII."""
        return self.raster is ASCII

    @property
    def columns(self) -> int:
        """Dots along x."""
        return self.width * self.raster.columns

    def column(self, x: float) -> int | None:
        """The character of the plot in which `x` is; None outside."""
        low, high = self.x_range
        if not low <= x <= high:
            return None
        return min(int((x - low) / (high - low) * self.width), self.width - 1)

    def x_at(self, column: int) -> float:
        """The x in the middle of a character of the plot."""
        low, high = self.x_range
        return low + (column + 0.5) / self.width * (high - low)


@dataclass(frozen=True)
class YAxis:
    """What the plot's height stands for."""

    low: float
    high: float
    log: bool
    labels: dict[int, str]
    """By row, from the top."""

    @property
    def gutter(self) -> int:
        """Columns that labels and axis take."""
        return max(map(len, self.labels.values()), default=0) + 1


def x_range_of(view: ChartView) -> Range | None:
    """What of x the chart shows; None while there is no point."""
    shown = view.x_range or union(curve.series.extent for curve in view.curves)
    return None if shown is None else settled(shown)


def layout_of(
    view: ChartView, x_range: Range, width: int, height: int, plain: bool, legend: bool
) -> Layout:
    """Parts are left out, least important first, where the height is small; no gutter yet."""
    has_legend = legend and len(view.curves) > 1 and height >= 6
    has_x_axis = height >= 5
    has_odd = any(curve.series.odd_between(*x_range) for curve in view.curves)
    has_marks = any(x_range[0] <= mark.x <= x_range[1] for mark in view.marks)
    has_heads = height >= 5 and (has_odd or has_marks)
    rows = height - has_legend - has_x_axis - has_heads
    raster = ASCII if plain else BRAILLE
    return Layout(x_range, 0, width, rows, has_legend, has_heads, has_odd, has_x_axis, raster)


def y_axis_of(view: ChartView, layout: Layout) -> YAxis | None:
    """The range of all curves, a little widened, with labels; None where there is no number."""
    low, high = _ends(bucketed(view, layout, 1), above=-inf)
    log = view.log and high > LEAST
    if log and low <= LEAST:
        # Narrow buckets, for the least number above 0 is in one that has no other.
        low, high = _ends(bucketed(view, layout, layout.columns), above=LEAST)
    if low > high:
        return None
    value, is_flat = low, high - low <= max(LEAST, _FLAT * max(abs(low), abs(high)))
    low, high = _spread(value, log) if is_flat else _widened(low, high, log)
    return YAxis(low, high, log, _labels(low, high, log, layout.rows, value if is_flat else None))


def _ends(curves: Sequence[Buckets], above: float) -> Range:
    """The least end of a bucket above a limit, and the greatest; turned round where there is none."""
    values = [value for buckets in curves for bucket in buckets if bucket for value in bucket[:2]]
    finite = [value for value in values if value > above]
    return min(finite, default=inf), max(finite, default=-inf)


def bucketed(view: ChartView, layout: Layout, columns: int) -> list[Buckets]:
    """The curves in what is shown, in so many columns."""
    return [curve.series.buckets(*layout.x_range, columns) for curve in view.curves]


def scale_of(axis: YAxis, layout: Layout) -> Scale:
    """From values to the dots of the plot."""
    return Scale(axis.low, axis.high, layout.rows * layout.raster.rows, axis.log)


def with_gutter(layout: Layout, gutter: int) -> Layout:
    """Room for y labels, unless the plot would be too narrow."""
    if layout.width - gutter < _LEAST_PLOT_WIDTH:
        gutter = 0
    return replace(layout, gutter=gutter, width=layout.width - gutter)


def _spread(value: float, log: bool) -> Range:
    """A range that has the one value in its middle."""
    if log:
        return value / 2, value * 2
    by = abs(value) / 2 if abs(value) > LEAST else 1.0
    return value - by, value + by


def _widened(low: float, high: float, log: bool) -> Range:
    """Ends on round numbers near by, so that a growing curve rarely changes the scale."""
    if log:
        return low, high
    grain = nice_below((high - low) / 32)
    return floor(low / grain + 1e-9) * grain, ceil(high / grain - 1e-9) * grain


def _labels(low: float, high: float, log: bool, rows: int, only: float | None) -> dict[int, str]:
    """Round numbers by row, the ends where there are none, or one number `only`."""
    scale = Scale(low, high, rows, log)
    if only is not None:
        return {rows - 1 - scale.dot(only): figure(only)}
    most = max(2, rows // _ROWS_PER_TICK + 1)
    numbers = log_ticks(low, high, most) if log else ticks(low, high, most)
    words = figures(numbers)
    if len(numbers) < 2 and rows > 1:
        numbers = [low, high]
        words = [figure(number, 3) for number in numbers]
    return {rows - 1 - scale.dot(number): word for number, word in zip(numbers, words, strict=True)}
