"""Bins hold every row once, none too many tokens, and are as few and as even as they can be."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_plugins.packing.batching import BinBatching
from stoker_plugins.packing.bins import fill_bins

LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=80)


def tokens(bins: list[list[int]], lengths: list[int]) -> list[int]:
    return [sum(lengths[number] for number in bin) for bin in bins]


@given(lengths=LENGTHS, capacity=st.integers(2, 120), multiple=st.integers(1, 5))
def test_every_row_is_in_one_bin_and_no_bin_overflows(
    lengths: list[int], capacity: int, multiple: int
) -> None:
    bins = fill_bins(lengths, capacity, multiple)
    assert sorted(number for bin in bins for number in bin) == list(range(len(lengths)))
    assert len(bins) % multiple == 0
    sizes = tokens(bins, lengths)
    assert sizes == sorted(sizes, reverse=True), "the largest allocation comes first"
    for bin, size in zip(bins, sizes, strict=True):
        assert size <= capacity or len(bin) == 1
        assert [lengths[number] for number in bin] == sorted(
            (lengths[number] for number in bin), reverse=True
        )
    assert bins == fill_bins(list(lengths), capacity, multiple)


@given(lengths=LENGTHS, capacity=st.integers(40, 120))
def test_there_are_hardly_more_bins_than_needed(lengths: list[int], capacity: int) -> None:
    """Against the bound of best-fit decreasing: two bins that follow each other would not fit in one."""
    bins = fill_bins(lengths, capacity)
    fewest = math.ceil(sum(lengths) / capacity)
    assert len(bins) <= max(fewest, 2 * sum(lengths) / capacity + 1)


@given(lengths=LENGTHS, micro_batch_size=st.integers(1, 9), world_size=st.integers(1, 4))
def test_by_default_a_step_takes_no_more_memory_nor_micro_batches_than_padded(
    lengths: list[int], micro_batch_size: int, world_size: int
) -> None:
    """Any bin that has no room for a row of a ninth of its size has nine of them."""
    run: Any = SimpleNamespace(
        micro_batch_size=micro_batch_size, index=SimpleNamespace(lengths=np.asarray(lengths))
    )
    rows = list(range(len(lengths)))
    bins = BinBatching(run)(rows, np.asarray(lengths), world_size)
    assert max(tokens(bins, lengths)) <= micro_batch_size * max(lengths)
    padded = math.ceil(len(lengths) / micro_batch_size)
    assert len(bins) <= math.ceil(padded / world_size) * world_size


def test_many_short_rows_are_one_micro_batch() -> None:
    assert fill_bins([100] * 40, 4096) == [list(range(40))]


def test_bins_are_level() -> None:
    """Best fit alone would leave 10, 10 and 1."""
    assert sorted(tokens(fill_bins([5, 5, 5, 5, 1], 10), [5, 5, 5, 5, 1])) == [5, 6, 10]
    assert tokens(fill_bins([3] * 9, 10), [3] * 9) == [9, 9, 9]
    assert tokens(fill_bins([4, 4, 2, 2, 2, 2], 9), [4, 4, 2, 2, 2, 2]) == [8, 8]


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rank_has_work_in_a_step_that_one_bin_would_hold(ranks: int) -> None:
    bins = fill_bins([7, 5, 4, 3], 4096, ranks)
    assert len(bins) == ranks
    assert all(bins)


def test_a_row_that_a_step_has_twice_is_taken_twice() -> None:
    run: Any = SimpleNamespace(micro_batch_size=2, index=SimpleNamespace(lengths=np.asarray([6, 3, 2])))
    bins = BinBatching(run, tokens=8)([1, 2, 1, 0], run.index.lengths, 1)
    assert sorted(row for bin in bins for row in bin) == [0, 1, 1, 2]


def test_rows_longer_than_a_bin_are_alone() -> None:
    bins = fill_bins([50, 3, 60, 4], 10)
    assert bins == [[2], [0], [3, 1]]
