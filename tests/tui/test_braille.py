"""Dots of curves, and the characters made of them."""

from __future__ import annotations

import math
from array import array

import pytest

from stoker_tui.models.braille import ASCII_LOOKS, braille
from stoker_tui.models.polyline import Scale, patterned, smoothed, trace
from stoker_tui.models.series import Point, Series

NAN, INF = math.nan, math.inf
SCALE = Scale(0, 7, 8)


def buckets(ys, count=None):
    series = Series(array("d", range(len(ys))), array("d", ys))
    return series.buckets(-0.5, len(ys) - 0.5, count or len(ys))


def dots(masks, height=8):
    """Rows from the top, `#` for a dot."""
    return [
        "".join("#" if mask >> row & 1 else "." for mask in masks) for row in reversed(range(height))
    ]


def test_characters_have_their_dots_where_unicode_puts_them():
    assert braille(0b0001, 0b0000) == "⡀"
    assert braille(0b1000, 0b0000) == "⠁"
    assert braille(0b0000, 0b1000) == "⠈"
    assert braille(0b0000, 0b0001) == "⢀"
    assert braille(0b1111, 0b1111) == "⣿"


def test_a_gentle_slope_has_one_dot_a_column():
    assert dots(trace(buckets([0, 1, 2, 3, 4, 5, 6, 7]), SCALE)) == [
        "." * (7 - at) + "#" + "." * at for at in range(8)
    ]


def test_a_steep_line_is_shared_between_both_columns():
    assert dots(trace(buckets([0, 7]), SCALE)) == [".#", ".#", ".#", ".#", "#.", "#.", "#.", "#."]
    assert dots(trace(buckets([7, 0]), SCALE)) == ["#.", "#.", "#.", "#.", "#.", ".#", ".#", ".#"]


def test_columns_without_points_are_bridged():
    series = Series(array("d", [0, 7]), array("d", [0, 7]))

    masks = trace(series.buckets(0, 8, 8), SCALE)

    assert [mask.bit_length() - 1 for mask in masks] == list(range(8))


@pytest.mark.parametrize("hole", [NAN, INF])
def test_a_gap_is_not_bridged(hole):
    assert dots(trace(buckets([3, 3, hole, hole, 3, 3]), SCALE))[4] == "##..##"


def test_a_spike_of_one_step_in_a_million_reaches_the_top():
    ys = array("d", bytes(8 * 1_000_000))
    ys[654_321] = 7
    series = Series(array("d", range(1_000_000)), ys)

    masks = trace(series.buckets(0, 1_000_000, 100), SCALE)

    assert [column for column, mask in enumerate(masks) if mask >> 7] == [65]
    assert masks[65] == 0b11111111


def test_a_curve_goes_on_to_points_off_both_ends():
    series = Series(array("d", [4]), array("d", [3]))

    masks = trace(series.buckets(0, 8, 8), SCALE, (-4.0, Point(-4, 3)), (12.0, Point(12, 3)))

    assert dots(masks)[4] == "########"


def test_values_off_the_scale_do_not_break_it():
    assert Scale(0, 1e-300, 8).dot(1e299) == 1_000_000
    assert trace(buckets([-1e200, 1e200]), SCALE)[0]


def test_a_logarithmic_scale_gives_decades_equal_heights():
    scale = Scale(1e-3, 1e3, 7, log=True)

    assert [scale.dot(10.0**power) for power in range(-3, 4)] == list(range(7))
    assert scale.dot(0) == scale.dot(-5) == 0


@pytest.mark.parametrize("look", range(1, 6))
def test_patterns_leave_holes_but_no_point_and_no_peak_out(look):
    flat = patterned(trace(buckets([3] * 24), SCALE), look, 8)
    assert 0 < sum(map(bool, flat)) < 24

    assert patterned([0, 0b1000, 0], look, 8)[1] == 0b1000
    for column in range(24):
        masks = [0b1000] * 24
        masks[column] = 0b11111110
        found = patterned(masks, look, 8)[column]
        assert found & 0b10000000
        assert found & 0b00000010


def test_the_first_look_is_a_full_line():
    masks = trace(buckets([3] * 24), SCALE)

    assert patterned(masks, 0, 8) == masks


def test_smoothing_is_an_unbiased_exponential_mean():
    ys = [4] + [8] * 249

    found = smoothed(buckets(ys), 0.5)

    assert [bucket.mean for bucket in found[:3]] == pytest.approx(
        [4, (4 * 0.25 + 8 * 0.5) / 0.75, (4 * 0.125 + 8 * 0.25 + 8 * 0.5) / 0.875]
    )


def test_smoothing_does_not_depend_on_the_width():
    ys = [4] * 500 + [8] * 500

    narrow, wide = smoothed(buckets(ys, 100), 0.9), smoothed(buckets(ys, 1000), 0.9)

    assert narrow[-1].mean == pytest.approx(wide[-1].mean, abs=0.01)
    assert narrow[54].mean == pytest.approx(wide[549].mean, abs=0.3)


def test_smoothing_leaves_gaps_and_forgets_along_them():
    near = smoothed(buckets([4, 8, NAN, NAN, NAN]), 0.99)
    far = smoothed(buckets([4, NAN, NAN, NAN, 8]), 0.99)

    assert not any(bucket.finite for bucket in far[1:4])
    assert near[1].mean < far[-1].mean < 8


def test_ascii_looks_are_ascii_and_distinct():
    assert "".join("".join(each) for each in ASCII_LOOKS).isascii()
    assert len({each[2] for each in ASCII_LOOKS}) == 6
