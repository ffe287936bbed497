"""Curves in the shapes that runs have."""

from __future__ import annotations

import math
import random
from array import array

from stoker_tui.models.chart_view import ChartView, Curve, Mark
from stoker_tui.models.series import Series


def series(ys, xs=None) -> Series:
    return Series(array("d", xs if xs is not None else range(len(ys))), array("d", ys))


def falling(size=2000, floor=1.2, seed=1) -> list[float]:
    """A training loss."""
    chance = random.Random(seed)
    return [floor + 1.5 * math.exp(-step / 200) + chance.uniform(-0.05, 0.05) for step in range(size)]


def view_of(*ys, **options) -> ChartView:
    """A chart of these columns, called a, b, ..."""
    curves = tuple(Curve(name, series(each)) for name, each in zip("abcdefgh", ys, strict=False))
    return ChartView(**{"title": "loss", "curves": curves, "latest": "1.21", **options})


def interrupted() -> ChartView:
    """A loss with a spike, a hole, a value that is not finite, and all marks."""
    ys = falling()
    ys[700] = 3.5
    ys[900:1000] = [math.nan] * 100
    ys[1500] = math.inf
    marks = (
        Mark(500, "evaluate"),
        Mark(800, "checkpoint"),
        Mark(900, "preemption"),
        Mark(1000, "resume", "attempt 2"),
        Mark(1800, "alert"),
    )
    return view_of(ys, marks=marks)
