"""What charts look like, as text."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from stoker_tui.models.chart_picture import draw
from stoker_tui.models.chart_view import ChartView, Curve, Mark

spec = importlib.util.spec_from_file_location("charts", Path(__file__).with_name("charts.py"))
charts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(charts)
falling, interrupted, series, view_of = charts.falling, charts.interrupted, charts.series, charts.view_of

VIEWS = {
    "falling": (view_of(falling()), 60, 12),
    "interrupted": (interrupted(), 72, 14),
    "smoothed": (view_of(falling(), smoothing=0.9), 60, 12),
    "three": (view_of(falling(), falling(floor=1.8), falling(floor=2.4), x_label="time"), 60, 14),
    "log": (view_of([10 ** (-step / 100) for step in range(500)], log=True, x_label="tokens"), 50, 12),
    "zoomed": (view_of(falling(), x_range=(690, 710)), 50, 10),
    "few": (view_of([3, 1, 2]), 30, 8),
    "one": (view_of([3]), 30, 8),
    "flat": (view_of([0.5] * 50), 30, 8),
    "all_nan": (view_of([math.inf] * 50), 30, 8),
    "smallest": (interrupted(), 10, 3),
}


@pytest.mark.parametrize("plain", [False, True], ids=["braille", "ascii"])
@pytest.mark.parametrize("name", VIEWS)
def test_charts_look_as_they_should(golden, name, plain):
    view, width, height = VIEWS[name]

    text = draw(view, width, height, plain=plain).text

    assert text.isascii() or not plain
    golden(f"chart_{name}_{'ascii' if plain else 'braille'}", text)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", VIEWS)
def test_every_size_is_filled_exactly(name, plain):
    view = VIEWS[name][0]
    for width in (1, 5, 9, 10, 11, 14, 23, 40, 200):
        for height in (1, 2, 3, 4, 5, 6, 7, 30):
            rows = draw(view, width, height, plain=plain, cursor=3).rows

            assert [sum(len(run.text) for run in row) for row in rows] == [width] * height


def test_below_the_least_size_there_is_title_and_value():
    assert draw(interrupted(), 9, 2).text == "loss 1.21\n\n"
    assert draw(interrupted(), 20, 1).text == "loss 1.21\n"


def test_without_points_it_says_so():
    assert draw(ChartView("loss"), 20, 3).text.split() == ["no", "value", "yet"]
    assert "no value yet" in draw(view_of([math.nan] * 9), 20, 3).text
    assert "no value here" in draw(view_of([1, 2, 3], x_range=(100, 200)), 20, 3).text


@pytest.mark.parametrize("height", [3, 4, 5, 20])
def test_a_value_that_is_not_finite_is_seen_at_every_height(height):
    ys = [1.0] * 100_000
    ys[12_345] = math.inf

    assert "✗" in draw(view_of(ys), 40, height).text
    assert "x" in draw(view_of(ys), 40, height, plain=True).text


def test_curves_can_be_told_apart_without_colour():
    curves = view_of(*([level] * 400 for level in range(6)))

    rows = [row for row in draw(curves, 70, 20).text.splitlines() if any("⠀" < c <= "⣿" for c in row)]

    assert len({row.split("┤")[-1].split("│")[-1].strip("⠀ ")[:12] for row in rows}) >= 5


def test_a_legend_says_how_many_curves_it_leaves_out():
    names = draw(view_of(*([level] * 5 for level in range(8))), 30, 12).text.splitlines()[0]

    assert names.strip() == "── a  ·· b  ╌╌ c  ─· d  +4"
    assert draw(view_of([1, 2], [2, 3]), 30, 12).text.splitlines()[0].strip() == "── a  ·· b"


def test_a_curve_has_the_look_it_is_given():
    chosen = ChartView("loss", (Curve("a", series([1, 2, 3]), look=4),))

    roles = {run.role for row in draw(chosen, 30, 8).rows for run in row}

    assert "look-4" in roles
    assert "look-0" not in roles


def test_a_smoothed_curve_leaves_the_raw_one_behind_it():
    roles = {run.role for row in draw(view_of(falling(), smoothing=0.9), 60, 12).rows for run in row}

    assert {"raw", "look-0"} <= roles


def test_the_cursor_stands_where_it_is_put():
    picture = draw(view_of([1.0] * 1000), 60, 8, cursor=500)

    columns = {row_text(row).index("cursor") for row in picture.rows if "cursor" in row_text(row)}

    assert columns == {picture.layout.gutter + picture.layout.column(500)}


def row_text(row):
    """The role of each character."""
    return [run.role for run in row for _ in run.text]


def test_marks_so_dense_that_they_say_nothing_are_left_out():
    marks = tuple(Mark(step, "evaluate") for step in range(0, 1000, 5))
    picture = draw(view_of([1.0] * 1000, marks=(*marks, Mark(400, "preemption"))), 60, 8)

    head = picture.text.splitlines()[0]

    assert head.strip() == "P"


def test_of_two_marks_in_one_place_the_graver_is_seen():
    marks = (Mark(500, "preemption"), Mark(500, "checkpoint"))

    assert draw(view_of([1.0] * 1000, marks=marks), 60, 8).text.splitlines()[0].strip() == "P"


def test_what_is_not_above_zero_lies_on_the_ground_of_a_logarithmic_chart():
    text = draw(view_of([0, -3, 1, 10, 100], log=True), 40, 8).text

    assert "100" in text
    assert "-" not in text
