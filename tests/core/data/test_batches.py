from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.data.batches import (
    Batch,
    Documents,
    collate,
    collate_plan,
    cut_by_length,
    deal,
    plan_rows,
    plan_step,
)
from stoker.data.index import TokenIndex
from stoker.data.order import KeyedOrder

INDEX = TokenIndex.from_rows(
    [
        ([5, 6, 7], [False, True, True]),
        ([1, 2], [True, True]),
        ([9, 8, 7, 6], [False, False, False, True]),
    ]
)


@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=60),
    micro_batch_size=st.integers(1, 9),
    world_size=st.integers(1, 5),
)
@settings(deadline=None)
def test_any_split_covers_each_row_once(
    lengths: list[int], micro_batch_size: int, world_size: int
) -> None:
    rows = list(range(len(lengths)))
    cut = cut_by_length(micro_batch_size)(rows, np.array(lengths), world_size)
    deals = [deal(cut, rank, world_size) for rank in range(world_size)]
    assert sorted(row for deal in deals for batch in deal for row in batch) == rows
    assert len({len(deal) for deal in deals}) == 1, "collectives need equally many on each rank"
    assert all(len(batch) <= micro_batch_size for deal in deals for batch in deal)


@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=60),
    micro_batch_size=st.integers(1, 9),
    world_size=st.integers(2, 5),
)
@settings(deadline=None)
def test_a_micro_batch_has_the_same_rows_however_many_ranks_there_are(
    lengths: list[int], micro_batch_size: int, world_size: int
) -> None:
    rows = list(range(len(lengths)))
    alone = cut_by_length(micro_batch_size)(rows, np.array(lengths), 1)
    cut = cut_by_length(micro_batch_size)(rows, np.array(lengths), world_size)
    for rank in range(world_size):
        own = deal(cut, rank, world_size)
        for turn, batch in enumerate(own):
            position = rank + turn * world_size
            assert batch == (alone[position] if position < len(alone) else [])


def test_the_longest_rows_come_first_and_equals_keep_their_order() -> None:
    lengths = np.array([3, 9, 3, 5])
    assert cut_by_length(2)([0, 1, 2, 3], lengths, 1) == [[1, 3], [0, 2]]


def test_the_guide_s_32_rows_are_2_by_4_by_4() -> None:
    lengths = np.full(32, 10)
    for rank in range(4):
        own = deal(cut_by_length(2)(list(range(32)), lengths, 4), rank, 4)
        assert [len(batch) for batch in own] == [2, 2, 2, 2]


def test_targets_are_the_tokens_after_their_positions() -> None:
    batch = collate(INDEX, [0, 1, 2], pad_id=99, micro_batch=3)
    assert batch.input_ids.tolist() == [[5, 6, 7, 99], [1, 2, 99, 99], [9, 8, 7, 6]]
    assert batch.lengths.tolist() == [3, 2, 4]
    # Row 1's first token is supervised too, but nothing comes before it to predict it.
    assert batch.target_index.tolist() == [0, 1, 4, 10]
    assert batch.targets.tolist() == [6, 7, 2, 6]
    assert (batch.num_tokens, batch.num_supervised, batch.index) == (9, 4, 3)
    assert batch.input_ids.dtype == batch.targets.dtype == torch.int64


def test_padding_is_never_a_target_even_when_it_looks_like_a_token() -> None:
    # pad = eos is common: what counts is where a token stands, not which one it is.
    index = TokenIndex.from_rows([([1, 2, 2], [False, True, True]), ([1, 2], [False, True])])
    batch = collate(index, [0, 1], pad_id=2)
    assert batch.target_index.tolist() == [0, 1, 3]


def test_an_empty_micro_batch_has_a_row_a_model_can_run_on_and_no_target() -> None:
    batch = collate(INDEX, [], pad_id=7)
    assert batch.input_ids.tolist() == [[7, 7]]
    assert batch.lengths.tolist() == [0]
    assert batch.targets.numel() == batch.target_index.numel() == 0
    assert batch.num_tokens == batch.num_supervised == 0


def test_to_keeps_the_counts() -> None:
    moved = collate(INDEX, [0], pad_id=0, micro_batch=5).to("meta")
    assert moved.input_ids.device.type == moved.targets.device.type == "meta"
    assert (moved.num_tokens, moved.num_supervised, moved.index) == (3, 2, 5)


def test_every_rank_knows_the_counts_of_the_whole_step() -> None:
    order = KeyedOrder([3], batch_size=3, seed=0)
    plans = [plan_step(order, INDEX, 1, cut_by_length(1), rank, 2) for rank in range(2)]
    assert {(plan.num_rows, plan.num_tokens, plan.num_supervised) for plan in plans} == {(3, 9, 4)}
    assert [plan.micro_batches for plan in plans] == [[[2], [1]], [[0], []]]
    assert [plan.indices for plan in plans] == [[0, 2], [1, 3]]


def test_the_batches_of_all_ranks_add_up_to_the_plan() -> None:
    steps = [
        collate_plan(plan_rows(4, [0, 1, 2], INDEX, cut_by_length(2), rank, 3), INDEX)
        for rank in range(3)
    ]
    batches = [batch for step in steps for batch in step.batches]
    assert sum(batch.num_supervised for batch in batches) == steps[0].plan.num_supervised
    assert sum(batch.num_tokens for batch in batches) == steps[0].plan.num_tokens
    assert sorted(batch.index for batch in batches) == [0, 1, 2]


def test_a_rank_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        deal([[0]], 2, 2)


def test_documents_in_one_row_begin_at_their_offsets_and_count_from_zero() -> None:
    documents = Documents.in_one_row([3, 1, 2])
    assert documents.offsets.tolist() == [0, 3, 4, 6]
    assert documents.offsets.dtype == torch.int32
    assert documents.positions.tolist() == [[0, 1, 2, 0, 0, 1]]
    assert documents.longest == 3


def test_documents_move_with_their_batch() -> None:
    batch = replace(collate(INDEX, [0]), documents=Documents.in_one_row([1, 2])).to("meta")
    assert batch.documents is not None
    assert batch.documents.offsets.device.type == batch.documents.positions.device.type == "meta"
    assert batch.documents.longest == 2


def test_a_plan_is_collated_by_whoever_owns_that() -> None:
    plan = plan_rows(1, [0, 1], INDEX, cut_by_length(1))
    seen = []

    def collator(index: TokenIndex, rows: Sequence[int], micro_batch: int = 0) -> Batch:
        seen.append((list(rows), micro_batch))
        return collate(index, rows, micro_batch)

    collate_plan(plan, INDEX, collator)
    assert seen == [([0], 0), ([1], 1)]
