"""Causal attention without a mask tensor and without asking the host.

transformers' own mask code looks at the positions' values on every forward to find packed rows,
which is a synchronisation. Rows here are padded on the right and never packed unless a plugin says
so, so a plain causal kernel is right; it is registered through the public attention interface.
"""

from __future__ import annotations

from typing import Any

from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

CAUSAL_SDPA = "stoker_causal_sdpa"


def register() -> None:
    """Make the implementation known to transformers. No mask function goes with it, on purpose."""
    AttentionInterface.register(CAUSAL_SDPA, sdpa_attention_forward)


def default_implementation(config: Any, model_class: Any, sequence_length: int) -> str | None:
    """`stoker_causal_sdpa` where every layer attends to its whole past, else transformers' choice.

    Also transformers' choice for model classes that do not take attention from the interface.
    """
    if not all(
        getattr(model_class, flag, False) for flag in ("_supports_sdpa", "_supports_attention_backend")
    ):
        return None
    text_config = config.get_text_config()
    layer_types = getattr(text_config, "layer_types", None) or []
    window = getattr(text_config, "sliding_window", None)
    if not getattr(text_config, "use_sliding_window", True):
        window = None
    if any(kind != "full_attention" for kind in layer_types):
        return None
    if window is not None and not layer_types and window < sequence_length:
        return None
    return CAUSAL_SDPA
