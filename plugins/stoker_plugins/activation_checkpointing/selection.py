"""Which operations of a recomputed block are dear enough for their outputs to be kept."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch.utils.checkpoint import (
    CheckpointPolicy,
    _CachedTorchDispatchMode,
    create_selective_checkpoint_contexts,
)

with suppress(ImportError):  # torch before 2.10 has none
    import torch.nn.attention.varlen  # registers its operation

MATRIX_PRODUCTS = (
    "aten.mm",  # linear layers without a bias
    "aten.addmm",  # and with one
    "aten._scaled_mm",
    "aten._grouped_mm",  # all experts of a mixture at once
    "aten._scaled_grouped_mm",
)
"""Not `aten.bmm`: in attention without a kernel of its own it makes the quadratic scores."""

ATTENTION = (
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable",
    "torch_attn._varlen_attn",
    "flash_attn._flash_attn_forward",
    "flash_attn._flash_attn_varlen_forward",
    "higher_order.flex_attention",
)
"""Under autocast too: it casts before these are called."""


@cache
def kept_operations() -> frozenset[Any]:
    """Those of the operations above that this torch and what is imported know."""
    return frozenset(filter(None, map(_operation, (*MATRIX_PRODUCTS, *ATTENTION))))


def _operation(name: str) -> Any:
    namespace, _, local_name = name.partition(".")
    packet = getattr(getattr(torch.ops, namespace), local_name, None)
    return getattr(packet, "default", packet)


def policy(context: Any, operation: Any, *arguments: Any, **keywords: Any) -> CheckpointPolicy:
    """Keep the outputs of matrix products and attention, recompute the cheap rest."""
    kept = operation in kept_operations()
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


class _Recomputation(_CachedTorchDispatchMode):
    """torch's mode for the second forward, for kept operations only.

    torch's asks of every operation that the first forward had it too; ZeRO-3 gathers a layer's weights
    with other ones the second time. torch leaves the name in place for those who derive from it.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in kept_operations():
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def selective_contexts() -> tuple[Any, Any]:
    """The pair of contexts, for forward and recomputation, that `checkpoint` asks for."""
    first, _ = create_selective_checkpoint_contexts(policy)
    return first, _Recomputation(policy, first.storage)
