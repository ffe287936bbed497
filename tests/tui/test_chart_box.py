"""The frame of a chart, its readout, and what must be written again."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from stoker_tui.models.chart_box import Patch, box, changes, readout_of
from stoker_tui.models.chart_view import ChartView, Curve

spec = importlib.util.spec_from_file_location("charts", Path(__file__).with_name("charts.py"))
charts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(charts)
falling, interrupted, series, view_of = charts.falling, charts.interrupted, charts.series, charts.view_of


def text(view, width, height, **options):
    return box(view, width, height, **options).picture.text


def test_the_frame_has_title_value_and_hints(golden):
    view = view_of(falling(), log=True, smoothing=0.9, x_range=(100, 900))

    golden("chart_box", text(view, 60, 14, cursor=300))


def test_the_frame_is_ascii_where_asked():
    assert text(interrupted(), 60, 14, plain=True, cursor=300).isascii()


def test_there_is_a_heading_at_every_size():
    for width in (9, 12, 20, 80):
        for height in (1, 2, 3, 4, 5, 24):
            assert "loss" in text(interrupted(), width, height)


def test_the_legend_is_in_the_frame_where_it_has_room():
    view = view_of([1, 2], [2, 3])

    assert text(view, 40, 8).splitlines()[0] == "╭─ loss 1.21 ───────────── ── a  ·· b ─╮"
    assert text(view, 24, 9).splitlines()[1] == "│  ── a  ·· b          │"


def test_legend_and_hints_are_apart():
    view = view_of([1, 2], [2, 3], log=True, smoothing=0.5)

    assert text(view, 54, 8).splitlines()[0].endswith(" ── a  ·· b ─ log smoothed 0.5 ─╮")


def test_long_words_are_cut_to_the_frame():
    view = view_of([1, 2], title="a very long title indeed", latest="123456789")
    for width in range(1, 40):
        for row in box(view, width, 6, cursor=1).picture.rows:
            assert sum(len(run.text) for run in row) == width


def test_of_a_number_no_part_is_shown():
    view = view_of([1, 2], title="learning rate", latest="8.57e-5")

    assert text(view, 40, 6).splitlines()[0].startswith("╭─ learning rate 8.57e-5 ─")
    assert text(view, 24, 6).splitlines()[0] == "╭─ learning… 8.57e-5 ──╮"
    assert text(view, 18, 6).splitlines()[0] == "╭─ learning ra ──╮"


def test_the_readout_names_every_curve():
    view = ChartView(
        "loss", (Curve("train", series([1, 2, 3])), Curve("eval", series([4, math.nan, 6])))
    )

    assert readout_of(view, 0.2) == "step 0  train 1  eval 4"
    assert readout_of(view, 1.1) == "step 1  train 2  eval -"
    assert readout_of(view_of([1, 2, 3], [9]), 2) == "step 2  a 3  b 9 at 0"
    assert readout_of(view_of([1.5], x_label="time"), 0) == "time 0s  1.5"
    assert readout_of(view_of([math.inf]), 0) == "step 0  inf"
    assert readout_of(ChartView("loss"), 0) == ""


@pytest.mark.parametrize(("width", "height"), [(60, 14), (12, 5), (11, 4)])
def test_a_column_of_the_frame_is_a_column_of_the_plot(width, height):
    drawn = box(view_of(falling()), width, height)
    first = drawn.left + drawn.layout.gutter

    assert drawn.column(first) == 0
    assert drawn.column(first - 1) is None
    assert drawn.column(first + drawn.layout.width - 1) == drawn.layout.width - 1
    assert drawn.column(first + drawn.layout.width) is None


def test_an_empty_chart_has_no_column():
    assert box(ChartView("loss"), 60, 14).column(30) is None


def test_nothing_is_written_again_where_nothing_changed():
    assert changes(box(interrupted(), 60, 14).picture, box(interrupted(), 60, 14).picture) == []


def test_a_new_value_writes_itself_only():
    before = box(view_of(falling(), latest="1.21"), 60, 14).picture
    after = box(view_of(falling(), latest="1.32"), 60, 14).picture

    assert changes(before, after) == [Patch(10, 0, 2)]


def test_a_growing_run_writes_its_tip_only():
    grown = falling(1_990)
    before = box(view_of(grown[:1_989]), 60, 14).picture
    after = box(view_of(grown), 60, 14).picture

    patches = changes(before, after)

    assert sum(patch.width for patch in patches) <= 4
