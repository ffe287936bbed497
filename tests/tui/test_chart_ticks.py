"""Numbers of axes are round and short."""

from __future__ import annotations

import random

import pytest

from stoker_tui.models.chart_ticks import duration, figure, figures, log_ticks, ticks, time_ticks, x_word


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0, "0"),
        (1.41234, "1.412"),
        (-2.5, "-2.5"),
        (12, "12"),
        (999.4, "999.4"),
        (1000, "1k"),
        (999_999, "1M"),
        (70_020, "70.02k"),
        (1_204_000_000, "1.204B"),
        (8.1e-6, "8.1e-6"),
        (0.001, "0.001"),
        (1e-5, "1e-5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_figures_have_at_most_four_digits(value, word):
    assert figure(value) == word


def test_neighbours_have_equal_decimals():
    assert figures([2, 2.5, 3]) == ["2.0", "2.5", "3.0"]
    assert figures([500, 1000]) == ["500", "1k"]
    assert figures([]) == []


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        (0, "0s"),
        (0.25, "0.25s"),
        (45, "45s"),
        (60, "1m"),
        (90, "1m30"),
        (7500, "2h05"),
        (7200, "2h"),
        (273_600, "3d04"),
    ],
)
def test_durations_are_short(seconds, word):
    assert duration(seconds) == word
    assert x_word("time", seconds) == word


def test_ticks_are_round_numbers_in_the_range():
    assert ticks(0, 2000, 5) == [0, 500, 1000, 1500, 2000]
    assert ticks(1.1, 2.74, 4) == [1.5, 2.0, 2.5]
    assert ticks(3, 3, 4) == []


def test_ticks_of_time_are_whole_minutes_hours_and_days():
    assert time_ticks(0, 3600, 4) == [0, 900, 1800, 2700, 3600]
    assert time_ticks(0, 10 * 86400, 5) == [0, 172800, 345600, 518400, 691200, 864000]
    assert time_ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_logarithmic_ticks_are_decades_or_between_them():
    assert log_ticks(1e-3, 1e3, 9) == pytest.approx([1e-3, 1e-2, 1e-1, 1, 10, 100, 1000])
    assert log_ticks(1e-3, 1e3, 4) == pytest.approx([1e-3, 1e-1, 10, 1000])
    assert log_ticks(1, 20, 4) == pytest.approx([1, 2, 5, 10, 20])
    assert log_ticks(1.1, 1.9, 4) == pytest.approx([1.2, 1.4, 1.6, 1.8])


def test_ticks_of_any_range_lie_in_it_and_are_few():
    chance = random.Random(3)
    for _ in range(500):
        low = chance.uniform(-1, 1) * 10 ** chance.randint(-8, 8)
        high = low + 10 ** chance.uniform(-6, 8)
        for make in (ticks, time_ticks):
            found = make(low, high, 5)
            slack = (high - low) * 1e-6
            assert len(found) <= 6
            assert all(low - slack <= each <= high + slack for each in found)
