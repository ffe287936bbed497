"""Proves, on the model that is about to be trained, that documents in one row do not see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stoker.data.batches import Batch, Documents
from stoker.errors import PluginError
from stoker.train.modes import evaluation_mode
from stoker.train.packing import document_keywords

if TYPE_CHECKING:
    from stoker.train.state import State

LENGTH = 8
"""Tokens of each of the two documents."""

TOLERANCES = {torch.float32: 1e-3}
OTHER_TOLERANCE = 0.1
"""Largest difference of two logits, as a part of the largest logit: what rounding cannot explain."""


@torch.no_grad()
def prove_apart(state: State) -> None:
    """Compare logits of two short documents in one row with those in two. Collective.

    What a model class declares is not always what its code does: some drop the offsets on the way to
    their layers. Raises `PluginError` where the logits differ.
    """
    model = state.model
    documents = _two_documents(model)
    with evaluation_mode(model):
        apart = _logits(state, _batch(documents, packed=False))
        together = _logits(state, _batch(documents.view(1, -1), packed=True))
    # SYNC: once, before the first step.
    difference = float((apart.flatten(0, 1) - together.flatten(0, 1)).abs().max() / apart.abs().max())
    tolerance = TOLERANCES.get(state.engine.regime.compute, OTHER_TOLERANCE)
    if difference > tolerance:
        raise PluginError(
            f"packing: {type(model).__name__} does not keep documents apart that share a row: logits of "
            f"two short ones differ by {difference:.1e} of the largest from those in rows of their own.",
            hint="Switch packing off, or choose another attention implementation.",
        )


def _two_documents(model: nn.Module) -> Tensor:
    """Ids [2, LENGTH], all different where the vocabulary allows it."""
    config = getattr(model, "config", None)
    vocabulary = 2 * LENGTH if config is None else config.get_text_config().vocab_size
    return (torch.arange(2 * LENGTH) % vocabulary).view(2, LENGTH)


def _batch(ids: Tensor, *, packed: bool) -> Batch:
    nothing = torch.zeros(0, dtype=torch.int64)
    return Batch(
        input_ids=ids,
        lengths=torch.full((len(ids),), ids.shape[1]),
        target_index=nothing,
        targets=nothing,
        num_tokens=ids.numel(),
        num_supervised=0,
        index=0,
        documents=Documents.in_one_row([LENGTH, LENGTH]) if packed else None,
    )


def _logits(state: State, batch: Batch) -> Tensor:
    def forward(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        keywords = {} if batch.documents is None else document_keywords(state.model, batch.documents)
        logits = module(input_ids=batch.input_ids, use_cache=False, **keywords).logits
        return logits.float(), logits.new_zeros(())

    return state.engine.forward(forward, batch.to(state.engine.device))[0]
