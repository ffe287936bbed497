"""Ranges hold all curves, and rarely change while a run grows."""

from __future__ import annotations

import pytest

from stoker_tui.models.chart_range import nice_below, settled, union


def test_the_union_skips_curves_without_points():
    assert union([None, (3, 9), (1, 4)]) == (1, 9)
    assert union([None]) is None


@pytest.mark.parametrize("extent", [(0, 1999), (3.5, 99.1), (-7, 12), (0, 1e-9), (1e9, 1e9 + 7)])
def test_settled_ranges_hold_all_and_little_more(extent):
    low, high = settled(extent)

    assert low <= extent[0] + 1e-15
    assert high >= extent[1] - 1e-15
    assert high - low <= (extent[1] - extent[0]) * (1 + 2 / 32 + 1e-9)


def test_settled_ranges_rarely_change_while_a_run_grows():
    ends = {settled((0, step)) for step in range(1000, 2000)}

    assert len(ends) < 50


def test_one_point_has_a_range_too():
    assert settled((5, 5)) == (5, 6)


def test_nice_numbers_are_1_2_5():
    assert [nice_below(value) for value in (1, 1.9, 2, 4.9, 5, 9.9, 10, 0.03)] == pytest.approx(
        [1, 1, 2, 2, 5, 5, 10, 0.02]
    )
