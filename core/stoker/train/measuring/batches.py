"""Micro-batches of a given size, with random content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stoker.data.batches import Batch, Documents, Step, StepPlan
from stoker.errors import UsageError

if TYPE_CHECKING:
    from stoker.plan.measured import Setting


class BatchOnHost(Batch):
    """Goes to the device as a copy, also where that is the CPU, so that the copy is counted."""

    def to(self, device: torch.device | str) -> Batch:
        """A copy of every tensor."""
        return self._map(lambda tensor: tensor.to(device, copy=True))


def make_batch(setting: Setting, vocab_size: int, index: int) -> BatchOnHost:
    """Random tokens; supervised are the last ones that have a next token.

    Raises `UsageError` for more supervised tokens than there are positions with a next one.
    """
    size = setting.micro_batch
    rows, positions = size.rows, size.positions
    generator = torch.Generator().manual_seed(index)
    input_ids = torch.randint(vocab_size, (rows, positions), generator=generator)
    predicting = torch.arange(rows * positions).view(rows, positions)[:, :-1].T.flip(0).flatten()
    if size.supervised > len(predicting):
        raise UsageError(
            f"{size.supervised} supervised tokens do not fit into {rows} rows of {positions} positions.",
            hint=f"There are at most {len(predicting)}: the last token of a row predicts nothing.",
        )
    target_index = predicting[: size.supervised].sort().values
    return BatchOnHost(
        input_ids=input_ids,
        lengths=torch.full((rows,), positions),
        target_index=target_index,
        targets=torch.randint(vocab_size, (size.supervised,), generator=generator),
        num_tokens=rows * positions,
        num_supervised=size.supervised,
        index=index,
        documents=_documents(setting) if setting.packed else None,
    )


def _documents(setting: Setting) -> Documents:
    length, longest = setting.micro_batch.tokens, setting.micro_batch.longest_document
    lengths = [longest] * (length // longest)
    if rest := length % longest:
        lengths.append(rest)
    documents = Documents.in_one_row(lengths)
    return replace(documents, positions=documents.positions.view(setting.micro_batch.rows, -1))


def tensors_of(step: Step) -> Iterator[Tensor]:
    """All that a step's batches hold."""
    for batch in step.batches:
        yield from (batch.input_ids, batch.lengths, batch.target_index, batch.targets)
        if batch.documents is not None:
            yield from (batch.documents.offsets, batch.documents.positions)


def make_step(number: int, setting: Setting, vocab_size: int, rank: int) -> Step:
    """A step of equal micro-batches on every rank."""
    indices = [rank + turn * setting.ranks for turn in range(setting.accumulation)]
    batches = [make_batch(setting, vocab_size, index) for index in indices]
    times = setting.ranks * setting.accumulation
    plan = StepPlan(
        step=number,
        micro_batches=[list(range(setting.micro_batch.rows)) for _ in indices],
        indices=indices,
        num_rows=setting.micro_batch.rows * times,
        num_tokens=setting.micro_batch.tokens * times,
        num_supervised=setting.micro_batch.supervised * times,
    )
    return Step(plan, list(batches))
