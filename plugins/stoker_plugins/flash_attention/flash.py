"""FlashAttention-2 from the package flash-attn, through transformers' attention interface.

transformers has an adapter of its own, but reads the positions' values on every forward to find out
whether rows are packed, which is a synchronisation. This one is told.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from stoker.errors import PluginError
from stoker.train.documents import in_compute_dtype
from stoker.train.packing import by_offsets, register_way

NAME = "stoker_fa2"
"""Without the word flash: transformers takes names with it for its own and looks for them on the hub."""


def register() -> None:
    """Make it known to transformers and to packing. No mask function goes with it, on purpose."""
    AttentionInterface.register(NAME, flash_attention)
    register_way(NAME, by_offsets, keeps_windows=True)


def flash_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    s_aux: Tensor | None = None,
    **keywords: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer: `query` is [B, H, T, C], `key` and `value` may have fewer heads.

    Returns [B, T, H, C]. With offsets, int32 [D + 1], each document sees only itself.
    """
    if s_aux is not None:
        raise PluginError(
            "plugins.flash_attention: the model's layers have attention sinks; flash-attn 2 has none.",
            hint="Set implementation to 'eager'.",
        )
    query, key, value = (x.transpose(1, 2) for x in in_compute_dtype(query, key, value))
    size, value_size = query.shape[-1], value.shape[-1]
    if value_size < size:  # the kernels want one size; multi-head latent attention has two
        value = functional.pad(value, [0, size - value_size])
    window = -1 if sliding_window is None else sliding_window - 1
    options = {
        "dropout_p": dropout,
        "softmax_scale": scaling,
        "causal": getattr(module, "is_causal", True) if is_causal is None else is_causal,
        "window_size": (window, window),
        "softcap": softcap or 0.0,
    }
    output = _call(query, key, value, cu_seq_lens_q, max_length_q, options)
    return output[..., :value_size], None


def _call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor | None,
    longest: int,
    options: dict[str, Any],
) -> Tensor:
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    output: Tensor
    if offsets is None:
        output = flash_attn_func(query, key, value, **options)
        return output
    flat = (tensor.flatten(0, 1) for tensor in (query, key, value))
    output = flash_attn_varlen_func(*flat, offsets, offsets, longest, longest, **options)
    return output.view(*query.shape[:2], *output.shape[1:])


def problem() -> str:
    """Why the package cannot be used; empty where it can."""
    try:
        import flash_attn  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "flash_attn":
            return "the package flash-attn is not installed"
        return f"flash-attn does not import: {error}"
    except (ImportError, OSError) as error:
        # Built for another torch.
        return f"flash-attn does not import: {error}"
    return ""
