"""The shown part of x, moments as seconds since another, and percentiles of step times."""

from __future__ import annotations

import math
from array import array

import pytest

from stoker_tui.models.percentiles import STRIDE, WINDOW, Percentiles, Strided
from stoker_tui.models.since import Since
from stoker_tui.models.x_range import XRange

WHOLE = (0.0, 1000.0)


def test_all_of_x_is_shown_at_first_and_after_widening():
    assert XRange().over(WHOLE) is None
    assert XRange().closer(WHOLE).wider() == XRange()


def test_nearer_keeps_the_end_in_sight_and_follows_it():
    near = XRange().closer(WHOLE).closer(WHOLE)
    assert near.over(WHOLE) == (750.0, 1000.0)
    assert near.over((0.0, 2000.0)) == (1500.0, 2000.0)


def test_nearer_around_a_cursor_keeps_what_is_read_in_sight():
    low, high = XRange().closer(WHOLE, 300.0).over(WHOLE)
    assert low <= 300.0 <= high
    assert high - low == 500.0


def test_moving_stops_at_both_ends_and_follows_again_at_the_last():
    near = XRange().closer(WHOLE)
    back = near.moved(-9, WHOLE)
    assert back.over(WHOLE) == (0.0, 500.0)
    assert back.moved(9, WHOLE) == near


def test_there_is_nothing_to_move_where_all_is_shown_or_nothing_is_known():
    assert XRange().moved(1, WHOLE) == XRange()
    assert XRange(0.5).moved(1, None) == XRange(0.5)
    assert XRange(0.5).over(None) is None


def test_nearer_ends_somewhere():
    near = XRange()
    for _ in range(100):
        near = near.closer(WHOLE)
    assert near.share > 0


def test_moments_are_counted_from_another_one_as_they_grow():
    moments = array("d", [100.0, 101.5])
    since = Since(moments, 100.0)
    moments.append(104.0)
    assert list(since) == [0.0, 1.5, 4.0]
    assert since[-1] == 4.0
    assert since[1:] == [1.5, 4.0]


def column_of(values):
    return array("d", values)


def test_percentiles_tell_the_usual_from_the_slow():
    paces = Percentiles(column_of([1.0] * 18 + [9.0, 9.0]))
    paces.refresh()
    assert len(paces.p50) == 1
    assert (paces.p50[0], paces.p95[0]) == (1.0, 9.0)


@pytest.mark.parametrize("pieces", [[400], [1] * 400, [37, 63, 300]])
def test_percentiles_are_the_same_however_a_column_grew(pieces):
    values = [1 + math.sin(number) for number in range(400)]
    ys = array("d")
    paces = Percentiles(ys)
    for piece in pieces:
        start = len(ys)
        ys.extend(values[start : start + piece])
        paces.refresh()
    whole = Percentiles(column_of(values))
    whole.refresh()
    assert len(paces.p50) == (400 - WINDOW) // STRIDE + 1
    assert (paces.p50, paces.p95) == (whole.p50, whole.p95)


def test_what_a_resumed_attempt_does_again_takes_the_place_of_what_was_cut_off():
    ys = column_of([1.0 + number / 1000 for number in range(100)])
    paces = Percentiles(ys)
    paces.refresh()
    del ys[60:]
    ys.extend(2.0 + number / 1000 for number in range(60))
    paces.refresh()
    again = Percentiles(ys)
    again.refresh()
    assert paces.p50 == again.p50
    assert paces.p50[-1] > 2.0


def test_values_that_are_not_finite_are_left_out():
    paces = Percentiles(column_of([math.nan] * 20 + [2.0] * 10))
    paces.refresh()
    assert math.isnan(paces.p50[0])
    assert paces.p50[1] == 2.0


@pytest.mark.parametrize("rows", [0, 19, 20, 29, 30, 400])
def test_points_of_percentiles_lie_at_the_last_row_of_their_window(rows):
    xs = array("d", range(1, rows + 1))
    paces = Percentiles(xs)
    paces.refresh()
    places = Strided(xs)
    assert len(places) == len(paces.p50)
    assert list(places) == places[:] == [float(x) for x in range(WINDOW, rows + 1, STRIDE)]
