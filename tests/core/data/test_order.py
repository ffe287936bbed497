from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.data.order import KeyedOrder, derive_key, permute, total_steps
from stoker.recipe.schema import TrainTable


def _stream(order: KeyedOrder, num_rows: int) -> list[int]:
    steps = -(-num_rows // order.batch_size)
    return [row for step in range(1, steps + 1) for row in order.rows(step)][:num_rows]


@given(size=st.integers(1, 300), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_permute_is_a_permutation(size: int, key: int) -> None:
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


def test_permute_can_be_asked_for_a_few_positions_of_a_huge_set() -> None:
    some = permute(np.array([0, 1, 10**12 - 1]), 10**12, 5)
    assert len(set(some.tolist())) == 3
    assert all(0 <= row < 10**12 for row in some.tolist())


def test_permute_never_changes_between_releases_or_machines() -> None:
    # A run resumes in the order it started in: these numbers must stay what they are.
    assert permute(np.arange(10), 10, derive_key(7, "epoch", 0)).tolist() == [
        8,
        2,
        1,
        5,
        3,
        7,
        4,
        0,
        9,
        6,
    ]


def test_every_row_lands_everywhere_equally_often() -> None:
    size, turns = 6, 3000
    counts = np.zeros((size, size))
    for turn in range(turns):
        counts[np.arange(size), permute(np.arange(size), size, derive_key(0, "epoch", turn))] += 1
    expected = turns / size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    # 25 degrees of freedom: beyond 60 once in 10,000 fair shuffles.
    assert chi_square < 60


@given(
    num_rows=st.integers(1, 200),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**63 - 1),
    epochs=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_every_epoch_takes_every_row_once(
    num_rows: int, batch_size: int, seed: int, epochs: int
) -> None:
    stream = _stream(KeyedOrder([num_rows], batch_size, seed), epochs * num_rows)
    for epoch in range(epochs):
        part = stream[epoch * num_rows : (epoch + 1) * num_rows]
        assert sorted(part) == list(range(num_rows))


def test_every_step_is_full_even_where_epochs_meet() -> None:
    order = KeyedOrder([10], batch_size=4, seed=0)
    assert [len(order.rows(step)) for step in range(1, 8)] == [4] * 7


def test_a_batch_may_be_larger_than_an_epoch() -> None:
    assert Counter(KeyedOrder([3], batch_size=7, seed=0).rows(1)).most_common()[-1][1] >= 2


def test_epochs_and_seeds_differ() -> None:
    order = KeyedOrder([50], batch_size=50, seed=1)
    assert order.rows(1) != order.rows(2)
    assert order.rows(1) != KeyedOrder([50], batch_size=50, seed=2).rows(1)


def test_a_resumed_run_sees_what_the_first_would_have_seen() -> None:
    first = KeyedOrder([9000, 50], 32, seed=3, weights=[1.0, 2.5])
    for step in range(1, 400):
        first.rows(step)
    # A step across the edge of an internal block, asked for in a fresh process.
    for step in (129, 257, 399):
        assert KeyedOrder([9000, 50], 32, seed=3, weights=[1.0, 2.5]).rows(step) == first.rows(step)


def test_blocks_join_without_a_seam() -> None:
    by_ones = KeyedOrder([9000], batch_size=1, seed=3)
    by_many = KeyedOrder([9000], batch_size=4500, seed=3)
    assert _stream(by_ones, 9000) == by_many.rows(1) + by_many.rows(2)


def test_a_weighted_source_comes_as_often_as_its_weight_says() -> None:
    order = KeyedOrder([10, 4], batch_size=1, seed=0, weights=[1.0, 2.5])
    assert order.num_rows == 20
    first, second = _stream(order, 40)[:20], _stream(order, 40)[20:]
    for epoch in (first, second):
        counts = Counter(epoch)
        assert all(counts[row] == 1 for row in range(10))
        assert sorted(counts[row] for row in range(10, 14)) == [2, 2, 3, 3]
    both = Counter(first + second)
    assert all(both[row] == 5 for row in range(10, 14))


def test_a_weight_below_one_walks_through_the_source_over_epochs() -> None:
    order = KeyedOrder([12], batch_size=3, seed=0, weights=[0.25])
    assert order.num_rows == 3
    assert sorted(_stream(order, 12)) == list(range(12))


def test_a_tiny_weight_still_takes_a_row() -> None:
    assert KeyedOrder([10], batch_size=1, seed=0, weights=[0.001]).num_rows == 1


def test_a_source_without_rows_is_passed_over() -> None:
    order = KeyedOrder([3, 0, 2], batch_size=5, seed=0, weights=[1.0, 2.0, 1.0])
    assert sorted(order.rows(1)) == [0, 1, 2, 3, 4]


def test_steps_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        KeyedOrder([3], batch_size=1, seed=0).rows(0)


def test_no_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        KeyedOrder([0], batch_size=1, seed=0)


@pytest.mark.parametrize(
    ("train", "expected"),
    [({"steps": 7}, 7), ({"epochs": 1.0}, 4), ({"epochs": 2.0}, 7), ({"epochs": 0.01}, 1)],
)
def test_total_steps_takes_every_row_as_often_as_epochs_say(
    train: dict[str, float], expected: int
) -> None:
    table = TrainTable.model_validate({"learning_rate": 0.1} | train)
    assert total_steps(table, KeyedOrder([10], batch_size=3, seed=0)) == expected
