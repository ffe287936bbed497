"""The loss: cross-entropy summed over supervised tokens, with the head applied to those only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.train.packing import document_keywords

if TYPE_CHECKING:
    from stoker.data.batches import Batch

Loss = Callable[[nn.Module, "Batch"], tuple[Tensor, Tensor]]
"""(model, batch) -> (sum over supervised tokens, their number), scalars on the model's device."""


class CausalLMLoss:
    """Next-token cross-entropy of a transformers causal language model.

    Rows are padded on the right and attention is causal, so no supervised token can see padding
    and no attention mask is needed. Where rows hold several documents, attention is told where they
    begin.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._select: Tensor | None = None
        find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
        head = find_head()
        if isinstance(head, nn.Module):
            head.register_forward_pre_hook(self._keep_selected)

    def _keep_selected(self, head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Reduce hidden states (batch, length, width) to (1, selected, width) before the head."""
        if self._select is None:
            return inputs
        hidden, *rest = inputs
        return (hidden.flatten(0, -2).index_select(0, self._select).unsqueeze(0), *rest)

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum in float32 over `batch.targets`; an empty batch gives 0 with a gradient of 0.

        Raises `PluginError` for packed rows that the model cannot keep apart.
        """
        keywords = {} if batch.documents is None else document_keywords(self._model, batch.documents)
        self._select = batch.target_index
        try:
            logits = model(input_ids=batch.input_ids, use_cache=False, **keywords).logits
        finally:
            self._select = None
        logits = logits.flatten(0, -2)
        # A model that computes logits without calling its head as a module gives all of them.
        if logits.shape[0] != batch.targets.shape[0]:
            logits = logits.index_select(0, batch.target_index)
        total = functional.cross_entropy(logits.float(), batch.targets, reduction="sum")
        return total, torch.full_like(total, batch.num_supervised)
