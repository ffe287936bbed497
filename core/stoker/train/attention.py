"""Causal attention without a mask tensor and without asking the host.

transformers' own mask code looks at the positions' values on every forward to find packed rows,
which is a synchronisation. Rows here are padded on the right, or say themselves where their documents
begin, so a plain causal kernel is right; it is registered through the public attention interface.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from stoker.train.documents import packed_sdpa

CAUSAL_SDPA = "stoker_causal_sdpa"

ADDS_TO_ITS_MASK = frozenset({"doge"})
"""Model types that add to transformers' mask in every layer, and are not causal without one."""


def causal_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **keywords: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer as transformers asks for it; with offsets, each document by itself.

    `query` is [B, H, T, C], `key` and `value` may have fewer heads; returns [B, T, H, C]. The names of
    the offsets (int32 [D + 1]) and the longest document are transformers' own.
    """
    if cu_seq_lens_q is None:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **keywords
        )
        return result
    return packed_sdpa(module, query, key, value, cu_seq_lens_q, max_length_q, **keywords), None


def register() -> None:
    """Make the implementation known to transformers. No mask function goes with it, on purpose."""
    AttentionInterface.register(CAUSAL_SDPA, causal_sdpa)


def default_implementation(config: Any, model_class: Any, sequence_length: int) -> str | None:
    """`stoker_causal_sdpa` where every layer attends to its whole past, else transformers' choice.

    Also transformers' choice for model classes that do not take attention from the interface, or not
    as it is.
    """
    if not all(
        getattr(model_class, flag, False) for flag in ("_supports_sdpa", "_supports_attention_backend")
    ):
        return None
    if getattr(config, "model_type", None) in ADDS_TO_ITS_MASK:
        return None
    return CAUSAL_SDPA if sees_whole_past(config, sequence_length) else None


def sees_whole_past(config: Any, sequence_length: int) -> bool:
    """Whether every layer's window, if it has one, is longer than the rows."""
    text_config = config.get_text_config()
    layer_types = getattr(text_config, "layer_types", None) or []
    window = getattr(text_config, "sliding_window", None)
    if not getattr(text_config, "use_sliding_window", True):
        window = None
    if any(kind != "full_attention" for kind in layer_types):
        return False
    return window is None or bool(layer_types) or window >= sequence_length
