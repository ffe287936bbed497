"""From the rows of a step to tensors: micro-batches dealt to ranks, collated ahead of time.

Shapes: B rows of a micro-batch, T positions (the longest row), n supervised targets, D documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stoker.data.prefetch import Prefetcher

if TYPE_CHECKING:
    from stoker.data.index import TokenIndex
    from stoker.data.order import Order

__all__ = [
    "Batch",
    "Batching",
    "Collator",
    "Documents",
    "Prefetcher",
    "Step",
    "StepPlan",
    "collate",
    "collate_plan",
    "cut_by_length",
    "deal",
    "plan_rows",
    "plan_step",
]

_EMPTY_LENGTH = 2
"""Positions of the stand-in row of an empty micro-batch: the least a causal model can shift."""


@dataclass(frozen=True)
class Documents:
    """Where documents begin and end that share a row: no token of one may see another's."""

    offsets: Tensor
    """int32 [D + 1]: the flat position b * T + t of each document's first token, and B * T."""
    positions: Tensor
    """int64 [B, T]: position of each token in its document, from 0."""
    longest: int
    """Tokens of the longest document: kernels want it on the host."""

    @classmethod
    def in_one_row(cls, lengths: Sequence[int]) -> Documents:
        """Documents of these lengths, each at least 1, one after the other in a single row."""
        positions = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return cls(torch.from_numpy(offsets), torch.from_numpy(positions)[None], max(lengths))


@dataclass(frozen=True)
class Batch:
    """One micro-batch of one rank.

    Rows are padded on the right, or hold several documents. With causal attention a padding position
    changes nothing before it, and no target points at one, so no attention mask is needed.
    """

    input_ids: Tensor
    """int64 [B, T]."""
    lengths: Tensor
    """int64 [B]: tokens of each row without padding; 0 for the row of an empty micro-batch."""
    target_index: Tensor
    """int64 [n]: flat positions b * T + t whose *next* token is supervised, ascending."""
    targets: Tensor
    """int64 [n]: that next token."""
    num_tokens: int
    """Tokens without padding."""
    num_supervised: int
    """n; 0 for an empty micro-batch, which exists so that all ranks call the same collectives."""
    index: int
    """Position of this micro-batch in the step, over all ranks: dropout is seeded by it."""
    documents: Documents | None = None
    """Which tokens belong together, where rows hold several documents; None where each is one."""

    def to(self, device: torch.device | str) -> Batch:
        """A copy on `device`; does not wait for the transfer when the memory is pinned."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """A copy in page-locked memory, from which transfers to a GPU run in the background."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        documents = self.documents
        if documents is not None:
            documents = replace(
                documents,
                offsets=function(documents.offsets),
                positions=function(documents.positions),
            )
        return replace(
            self,
            input_ids=function(self.input_ids),
            lengths=function(self.lengths),
            target_index=function(self.target_index),
            targets=function(self.targets),
            documents=documents,
        )


class Collator(Protocol):
    """Makes the tensors of one micro-batch from rows of the index, on the host.

    For no rows it gives a stand-in without targets. `micro_batch` is the batch's `index`.
    """

    def __call__(self, index: TokenIndex, rows: Sequence[int], micro_batch: int = 0) -> Batch: ...


@dataclass(frozen=True)
class StepPlan:
    """What one rank does in one step, and the counts of the whole step. Known without communication."""

    step: int
    """Counted from 1."""
    micro_batches: list[list[int]]
    """Rows of each micro-batch of this rank; [] stands for an empty one."""
    indices: list[int]
    """Position of each of them in the step, over all ranks."""
    num_rows: int
    """Rows of the whole step, all ranks."""
    num_tokens: int
    """Tokens of the whole step without padding, all ranks."""
    num_supervised: int
    """N: supervised tokens of the whole step, all ranks; the divisor of its loss."""


@dataclass(frozen=True)
class Step:
    """A plan with its batches, on the host."""

    plan: StepPlan
    batches: list[Batch]


class Batching(Protocol):
    """Cuts rows into the micro-batches of all ranks together, the largest first.

    `lengths` holds the length of every row of the index. A pure function, the same on all ranks; every
    row of `rows` is in one micro-batch, as often as it is in `rows`.
    """

    def __call__(
        self, rows: Sequence[int], lengths: NDArray[np.integer], world_size: int
    ) -> list[list[int]]: ...


def cut_by_length(micro_batch_size: int) -> Batching:
    """The default: rows sorted by length, `micro_batch_size` at a time.

    Sorting saves padding and makes the largest allocation the first. The micro-batches do not depend
    on the number of ranks.
    """
    if micro_batch_size < 1:
        raise ValueError(f"micro_batch_size {micro_batch_size}")

    def cut(rows: Sequence[int], lengths: NDArray[np.integer], world_size: int = 1) -> list[list[int]]:
        ordered = sorted(rows, key=lambda row: -int(lengths[row]))
        return [ordered[i : i + micro_batch_size] for i in range(0, len(ordered), micro_batch_size)]

    return cut


def deal(micro_batches: Sequence[list[int]], rank: int, world_size: int) -> list[list[int]]:
    """Those of one rank: micro-batch i goes to rank i % world_size.

    [] stands for an empty one, where a rank would have one less.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size}")
    own = list(micro_batches[rank::world_size])
    rounds = -(-len(micro_batches) // world_size)
    return own + [[]] * (rounds - len(own))


def plan_rows(
    step: int,
    rows: Sequence[int],
    index: TokenIndex,
    batching: Batching,
    rank: int = 0,
    world_size: int = 1,
) -> StepPlan:
    """What `rank` does with these rows of `index`. Serves training steps and evaluations."""
    own = deal(batching(rows, index.lengths, world_size), rank, world_size)
    chosen = np.asarray(rows, dtype=np.int64)
    return StepPlan(
        step=step,
        micro_batches=own,
        indices=[rank + turn * world_size for turn in range(len(own))],
        num_rows=len(rows),
        num_tokens=int(index.lengths[chosen].sum(dtype=np.int64)),
        num_supervised=int(index.supervised_counts[chosen].sum(dtype=np.int64)),
    )


def plan_step(
    order: Order,
    index: TokenIndex,
    step: int,
    batching: Batching,
    rank: int = 0,
    world_size: int = 1,
    *,
    batch: int | None = None,
) -> StepPlan:
    """What `rank` does in `step`, which counts from 1.

    `batch`: which of the order's batches the step takes; the one of its own number by default.
    """
    rows = order.rows(step if batch is None else batch)
    return plan_rows(step, rows, index, batching, rank, world_size)


def collate(index: TokenIndex, rows: Sequence[int], micro_batch: int = 0, *, pad_id: int = 0) -> Batch:
    """The default collator: rows padded on the right; for no rows, one of padding without targets."""
    pairs = [index.row(row) for row in rows]
    lengths = [len(ids) for ids, _ in pairs] or [0]
    width = max(_EMPTY_LENGTH, *lengths)
    input_ids = np.full((len(lengths), width), pad_id, dtype=np.int64)
    predicts = np.zeros((len(lengths), width), dtype=np.bool_)
    for number, (ids, supervised) in enumerate(pairs):
        input_ids[number, : len(ids)] = ids
        # Position t predicts token t + 1: the first token of a row is nobody's target.
        predicts[number, : len(ids) - 1] = supervised[1:]
    flat = np.flatnonzero(predicts)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        lengths=torch.tensor(lengths, dtype=torch.int64),
        target_index=torch.from_numpy(flat),
        # Flat + 1 stays in the row: its last position predicts nothing.
        targets=torch.from_numpy(input_ids.reshape(-1)[flat + 1]),
        num_tokens=sum(lengths),
        num_supervised=len(flat),
        index=micro_batch,
    )


def collate_plan(
    plan: StepPlan, index: TokenIndex, collator: Collator = collate, *, pin: bool = False
) -> Step:
    """All batches of a plan; `pin` puts them in page-locked memory."""
    batches = [
        collator(index, rows, number)
        for number, rows in zip(plan.indices, plan.micro_batches, strict=True)
    ]
    return Step(plan, [batch.pin() for batch in batches] if pin else batches)
