"""Rows of an epoch and steps of a run: what a plan says is what training does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.data.epochs import epoch_rows, num_steps, repeats_and_extra
from stoker.data.order import KeyedOrder
from stoker.recipe.schema import TrainTable


@pytest.mark.parametrize(
    ("num_rows", "weight", "expected"),
    [(10, 1.0, 10), (10, 2.5, 25), (10, 0.25, 2), (3, 0.01, 1), (0, 0.5, 0)],
)
def test_an_epoch_takes_rows_by_weight_and_at_least_one(
    num_rows: int, weight: float, expected: int
) -> None:
    assert epoch_rows(num_rows, weight) == expected


def test_whole_weights_take_every_row_as_often() -> None:
    assert repeats_and_extra(10, 3.0) == (3, 0)
    assert repeats_and_extra(10, 1.5) == (1, 5)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 500), min_size=1, max_size=4), weight=st.floats(0.01, 5))
def test_the_order_of_training_has_as_many_rows(sizes: list[int], weight: float) -> None:
    weights = [weight] * len(sizes)
    order = KeyedOrder(sizes, 4, 0, weights)
    assert order.num_rows == sum(map(epoch_rows, sizes, weights))


@pytest.mark.parametrize(
    ("stated", "steps"),
    [({"steps": 7}, 7), ({"epochs": 3}, 30), ({"epochs": 0.1}, 1), ({"epochs": 0.3}, 3)],
)
def test_steps_are_stated_or_follow_from_epochs(stated: dict[str, float], steps: int) -> None:
    assert num_steps(TrainTable(learning_rate=0.1, **stated), 10.0) == steps  # type: ignore[arg-type]


def test_a_binary_fraction_costs_no_step_more() -> None:
    assert 3 * 0.1 * 10 > 3
    assert num_steps(TrainTable(learning_rate=0.1, epochs=3), 0.1 * 10) == 3
