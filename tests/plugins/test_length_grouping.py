"""Steps of rows of like length: the same rows an epoch, less padding, resumable anywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.data.order import KeyedOrder
from stoker.errors import StokerError
from stoker.testing import tiny_fit, tiny_recipe
from stoker_plugins.length_grouping.order import LengthGroupedOrder


def grouped(sizes: list[int], batch: int, window: int, weights: list[float] | None = None):  # type: ignore[no-untyped-def]
    order = KeyedOrder(sizes, batch, 7, weights)
    lengths = np.random.default_rng(3).integers(2, 200, sum(sizes))
    return order, LengthGroupedOrder(order, lengths, window, 7), lengths


@given(
    size=st.integers(1, 90),
    batch=st.integers(1, 12),
    window=st.integers(2, 9),
    weight=st.sampled_from([0.5, 1.0, 2.5]),
)
def test_an_epoch_takes_the_rows_it_would_take_anyway(
    size: int, batch: int, window: int, weight: float
) -> None:
    order, found, _ = grouped([size, 5], batch, window, [weight, 1.0])
    assert (found.num_rows, found.steps_per_epoch) == (order.num_rows, order.steps_per_epoch)
    first = 1
    for epoch in range(1, 4):
        after = -(-epoch * order.num_rows // batch) + 1
        steps = range(first, after)
        rows, expected = (
            Counter(row for step in steps for row in each.rows(step)) for each in (found, order)
        )
        assert rows == expected
        assert all(len(found.rows(step)) == batch for step in steps)
        first = after


def test_a_step_has_rows_of_like_length_and_steps_come_in_any_order() -> None:
    order, found, lengths = grouped([4096], 8, 16)
    spans = [
        np.mean([np.ptp(lengths[each.rows(step)]) for step in range(1, 129)]) for each in (found, order)
    ]
    assert spans[0] < 0.15 * spans[1]
    means = [lengths[found.rows(step)].mean() for step in range(1, 17)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_any_step_can_be_asked_for_first() -> None:
    """Resuming in the middle of a window, and far into the run, which costs no more."""
    _, one, _ = grouped([1000], 8, 16)
    stream = [one.rows(step) for step in range(1, 300)]
    for step in (299, 13, 126, 125, 1):
        _, other, _ = grouped([1000], 8, 16)
        assert other.rows(step) == stream[step - 1]
    assert len(one.rows(10**9)) == 8


def test_steps_count_from_one() -> None:
    with pytest.raises(ValueError, match="steps count from 1"):
        grouped([9], 2, 2)[1].rows(0)


def test_a_run_takes_its_epoch_in_another_order(tmp_path: Path) -> None:
    overrides = ["train.epochs=1", "train.batch_size=4", "train.micro_batch_size=2"]
    plain, fit = (tiny_fit(tmp_path, plugins, overrides) for plugins in ({}, {"length_grouping": {}}))
    expected, found = ([event["tokens"] for event in each.of_kind("step")] for each in (plain, fit))
    assert found != expected
    assert found[-1] == expected[-1], "tokens so far, at the end of the epoch"


def test_packing_makes_it_needless(tmp_path: Path) -> None:
    tables = ["plugins.packing.enabled=true", "plugins.length_grouping.window=4"]
    with pytest.raises(StokerError, match="no padding that rows of like length could save"):
        tiny_recipe(tmp_path, tables)
