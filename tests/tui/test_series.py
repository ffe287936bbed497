"""Summaries of growing columns equal what all their points say."""

from __future__ import annotations

import math
import random
import tracemalloc
from array import array

import pytest

from stoker_tui.models.series import Point, Series

NAN, INF = math.nan, math.inf


def columns(ys, xs=None):
    return array("d", xs if xs is not None else range(len(ys))), array("d", ys)


def noise(size, seed=7):
    chance = random.Random(seed)
    odd = {0: NAN, 1: INF, 2: -INF}
    return [odd.get(chance.randrange(40), chance.gauss(0, 1)) for _ in range(size)]


def by_hand(xs, ys, low, high, count):
    """Lists of the values in each column."""
    width = (high - low) / count
    found = [[] for _ in range(count)]
    for x, y in zip(xs, ys, strict=True):
        if low <= x <= high:
            edges = [low + at * width for at in range(1, count)]
            found[sum(x >= edge for edge in edges)].append(y)
    return found


def is_same(bucket, values):
    if not values:
        return bucket is None
    finite = [value for value in values if math.isfinite(value)]
    odd = sum(math.isinf(value) for value in values)
    if not finite:
        return bucket.finite == 0 and math.isnan(bucket.low) and bucket.odd == odd
    return (
        (bucket.low, bucket.high, bucket.finite, bucket.odd)
        == (min(finite), max(finite), len(finite), odd)
    ) and bucket.mean == pytest.approx(sum(finite) / len(finite), abs=1e-12)


@pytest.mark.parametrize("size", [0, 1, 2, 15, 16, 17, 255, 256, 257, 4097, 9000])
@pytest.mark.parametrize("count", [1, 7, 200])
def test_buckets_are_those_made_by_hand(size, count):
    xs, ys = columns(noise(size))
    low, high = (-3.0, size * 0.9 + 1)

    buckets = Series(xs, ys).buckets(low, high, count)

    assert len(buckets) == count
    expected = by_hand(xs, ys, low, high, count)
    assert all(is_same(bucket, values) for bucket, values in zip(buckets, expected, strict=True))


def test_growing_in_small_steps_equals_growing_at_once():
    values = noise(3000)
    xs, ys = columns([])
    series = Series(xs, ys)
    for start in range(0, 3000, 37):
        ys.extend(values[start : start + 37])
        xs.extend(float(x) for x in range(len(xs), len(ys)))
        series.refresh()

    assert repr(series.buckets(0, 3000, 100)) == repr(Series(*columns(values)).buckets(0, 3000, 100))


@pytest.mark.parametrize(
    ("cut", "grown"), [(2999, 3000), (2990, 3100), (1000, 1000), (700, 5000), (3, 9), (0, 40)]
)
def test_a_cut_is_noticed_though_the_columns_grew_again(cut, grown):
    before, after = noise(3000, seed=1), noise(5000, seed=2)
    xs, ys = columns(before)
    series = Series(xs, ys)

    del xs[cut:], ys[cut:]
    ys.extend(after[cut:grown])
    xs.extend(float(x) for x in range(cut, grown))
    series.refresh()

    expected = Series(*columns(before[:cut] + after[cut:grown]))
    assert repr(series.buckets(0, grown, 64)) == repr(expected.buckets(0, grown, 64))
    assert len(series) == grown


def test_points_need_not_be_evenly_apart():
    xs, ys = columns([1, 2, 3, 4], xs=[0, 10, 10.5, 1000])

    buckets = Series(xs, ys).buckets(0, 1000, 10)

    assert (buckets[0].low, buckets[0].high, buckets[0].first, buckets[0].last) == (1, 3, 1, 3)
    assert buckets[1:9] == [None] * 8
    assert buckets[9].low == 4


def test_columns_of_unequal_length_count_as_far_as_both_go():
    xs, ys = columns([1, 2, 3])
    xs.append(3.0)

    series = Series(xs, ys)

    assert len(series) == 3
    assert series.extent == (0, 2)


def test_the_nearest_point_is_found_on_both_sides_and_off_the_ends():
    series = Series(*columns([5, 6, 7], xs=[10, 20, 40]))

    assert [series.nearest(x).y for x in (-1, 14, 15, 16, 29, 31, 99)] == [5, 5, 5, 6, 6, 7, 7]
    assert Series(*columns([])).nearest(1) is None


def test_neighbours_off_both_ends_are_found():
    series = Series(*columns([5, 6, 7], xs=[10, 20, 40]))

    assert (series.before(20), series.after(20)) == (Point(10, 5), Point(40, 7))
    assert (series.before(10), series.after(40)) == (None, None)


def test_numbers_too_large_to_draw_count_as_not_finite():
    (bucket,) = Series(*columns([1e308, 1.0, -1e308])).buckets(0, 2, 1)

    assert (bucket.low, bucket.high, bucket.odd) == (1, 1, 2)


def test_values_not_finite_are_counted_in_a_range():
    series = Series(*columns([INF if x % 100 == 5 else NAN if x % 3 else x for x in range(1000)]))

    assert series.odd_between(0, 999) == 10
    assert series.odd_between(6, 104) == 0
    assert series.odd_between(905, 999) == 1


def test_summaries_take_a_quarter_of_the_memory_of_the_points():
    xs, ys = array("d", range(100_000)), array("d", bytes(800_000))
    tracemalloc.start()
    series = Series(xs, ys)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert used < 400_000
    assert len(series) == 100_000
