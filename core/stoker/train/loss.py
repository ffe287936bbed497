"""The loss: cross-entropy summed over supervised tokens, whose logits never exist all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.train.cross_entropy import chunked_cross_entropy, linear_cross_entropy
from stoker.train.documents import in_compute_dtype
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

    The head is given supervised positions only, and gives their summed cross-entropy in the place of
    logits: it has to happen inside the head's own forward, where engines that shard have its weight.
    The first call looks whether that reaches the model's output unchanged. A model that does something
    with its logits (a soft cap, a scale) gives all logits of supervised positions instead.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        may_call_repeatedly: bool = True,
        note: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`may_call_repeatedly`: whether ranks may call modules within the head differently often.

        `note` is told once where chunks cannot be used.
        """
        self._model = model
        self._note = note
        self._select: Tensor | None = None
        find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
        head = find_head()
        self._head = head if isinstance(head, nn.Module) else None
        if self._head is not None:
            self._head.register_forward_pre_hook(self._keep_selected)
        self._is_proven = False
        self._in_chunks = True
        if reason := self._why_not(may_call_repeatedly):
            self._compute_at_once(reason)

    def assume(self, *, returns_logits: bool) -> None:
        """Say what the first call would find: tensors without values cannot be looked at."""
        self._is_proven = returns_logits
        self._in_chunks = self._in_chunks and returns_logits

    def _why_not(self, may_call_repeatedly: bool) -> str:
        """Why logits are computed all at once, as far as it is known before a forward; else empty."""
        if self._head is None:
            return "the model does not say which module its head is"
        if getattr(self._model, "_compiled_call_impl", None) is not None:
            return "the model is compiled together with its head"
        if not (may_call_repeatedly or _is_linear(self._head)):
            return "the engine gathers weights each time that a part of the adapted head is called"
        return ""

    def _compute_at_once(self, reason: str) -> None:
        self._in_chunks = False
        self._note(f"loss: logits of a micro-batch's supervised tokens are computed at once: {reason}")

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
        total = self._sum_in_chunks(model, batch) if self._in_chunks else None
        if total is None:
            total = self._sum_at_once(model, batch)
        return total, torch.full_like(total, batch.num_supervised)

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model gives where the head is given the batch's supervised positions."""
        keywords = {} if batch.documents is None else document_keywords(self._model, batch.documents)
        self._select = batch.target_index
        try:
            logits: Tensor = model(input_ids=batch.input_ids, use_cache=False, **keywords).logits
        finally:
            self._select = None
        return logits

    def _sum_at_once(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = self._logits(model, batch).flatten(0, -2)
        # A model that computes logits without calling its head as a module gives all of them.
        if logits.shape[0] != batch.targets.shape[0]:
            logits = logits.index_select(0, batch.target_index)
        return functional.cross_entropy(logits.float(), batch.targets, reduction="sum")

    def _sum_in_chunks(self, model: nn.Module, batch: Batch) -> Tensor | None:
        """None where what the head gives is not what the model does."""
        assert self._head is not None
        size = _vocabulary(self._head, self._model)
        if self._is_proven:
            with _giving(self._head, size, batch.targets):
                return self._logits(model, batch).reshape(())
        # Numbers that no function of logits leaves as they are.
        marks = torch.arange(1, size, dtype=torch.float32, device=batch.input_ids.device)
        # Random numbers of a forward that may have to be repeated.
        devices = [batch.input_ids.device] if batch.input_ids.is_cuda else []
        with torch.random.fork_rng(devices), _giving(self._head, size, batch.targets, marks):
            found = self._logits(model, batch)
        # SYNC: in the first call only.
        self._is_proven = found.dtype == torch.float32 and torch.equal(found.flatten()[1:], marks)
        if self._is_proven:
            return found.flatten()[0]
        self._compute_at_once(f"{type(self._model).__name__} does more with logits than to return them")
        return None


def _is_linear(head: nn.Module) -> bool:
    """Whether its forward is that of `nn.Linear`: not where it has an adapter or is quantized."""
    return isinstance(head, nn.Linear) and type(head).forward is nn.Linear.forward


def _vocabulary(head: nn.Module, model: nn.Module) -> int:
    size: int | None = getattr(head, "out_features", None)
    if size is None:
        config: Any = model.config
        size = config.get_text_config().vocab_size
    return size


@contextmanager
def _giving(
    head: nn.Module, vocabulary: int, targets: Tensor, marks: Tensor | None = None
) -> Iterator[None]:
    """The head gives, for hidden states [1, n, H], their summed cross-entropy as [1, 1, 1], or
    [1, 1, V] with `marks` behind it."""
    original = head.forward
    own = head.__dict__.get("forward")

    def forward(hidden: Tensor) -> Tensor:
        total = _cross_entropy(head, original, vocabulary, hidden[0], targets)
        marked = [] if marks is None else [marks[None, None]]
        # A copy: FSDP wants no view for an output.
        return torch.cat([total.reshape(1, 1, 1), *marked], dim=-1)

    head.forward = forward
    try:
        yield
    finally:
        if own is None:
            del head.forward
        else:
            head.forward = own


def _cross_entropy(
    head: nn.Module,
    forward: Callable[[Tensor], Tensor],
    vocabulary: int,
    hidden: Tensor,
    targets: Tensor,
) -> Tensor:
    # float16 loses small gradients where they are computed before the loss is scaled.
    is_half = in_compute_dtype(hidden[:0])[0].dtype == torch.float16
    if isinstance(head, nn.Linear) and _is_linear(head) and not is_half:
        return linear_cross_entropy(hidden, head.weight, head.bias, targets)
    return chunked_cross_entropy(forward, hidden, targets, vocabulary)
