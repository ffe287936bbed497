"""Which models can keep documents apart that share a row, and how they are told where these begin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stoker.data.batches import Documents
from stoker.errors import PluginError
from stoker.train.attention import ADDS_TO_ITS_MASK, CAUSAL_SDPA, sees_whole_past
from stoker.train.documents import document_mask

Keywords = Callable[[Documents], dict[str, Any]]
"""Documents -> keyword arguments of the model's forward."""


def by_offsets(documents: Documents) -> dict[str, Any]:
    """The names that transformers' variable-length kernels know."""
    return {
        "cu_seq_lens_q": documents.offsets,
        "cu_seq_lens_k": documents.offsets,
        "max_length_q": documents.longest,
        "max_length_k": documents.longest,
    }


def by_boolean_mask(documents: Documents) -> dict[str, Any]:
    """A mask made once for all layers; one row only."""
    return {"attention_mask": document_mask(documents.offsets, documents.positions.numel())}


def by_added_mask(documents: Documents) -> dict[str, Any]:
    """0 or minus infinity, which are exact in any dtype and leave the scores in theirs."""
    allowed = document_mask(documents.offsets, documents.positions.numel())
    mask = torch.zeros_like(allowed, dtype=torch.bfloat16).masked_fill_(~allowed, -torch.inf)
    return {"attention_mask": mask}


_WAYS: dict[str, tuple[Keywords, bool]] = {
    CAUSAL_SDPA: (by_offsets, False),
    "sdpa": (by_boolean_mask, False),
    "eager": (by_added_mask, False),
}


def register_way(implementation: str, keywords: Keywords, *, keeps_windows: bool = False) -> None:
    """Say how an attention implementation is told about documents.

    `keeps_windows`: within a document it also honours the sliding windows of a model's layers.
    """
    _WAYS[implementation] = (keywords, keeps_windows)


def document_keywords(model: nn.Module, documents: Documents) -> dict[str, Any]:
    """What the forward of `model` needs for packed rows. Raises `PluginError` if nothing would do."""
    implementation = _implementation(model)
    if implementation not in _WAYS:
        raise PluginError(_unknown(implementation), hint="Switch packing off.")
    keywords, _ = _WAYS[implementation]
    return {"position_ids": documents.positions, **keywords(documents)}


def require_packable(model: nn.Module, sequence_length: int) -> None:
    """Raise `PluginError` for a model in which one document could see another."""
    reason = why_not_packable(model, sequence_length)
    if reason:
        raise PluginError(
            f"packing: {type(model).__name__} cannot keep documents apart that share a row: {reason}.",
            hint="Switch packing off, or choose another attention implementation.",
        )


def why_not_packable(model: nn.Module, sequence_length: int) -> str:
    """Why documents would not be kept apart; empty where they are."""
    implementation = _implementation(model)
    if implementation not in _WAYS:
        return _unknown(implementation)
    own = getattr(model.config, "model_type", None) in ADDS_TO_ITS_MASK
    if own or not getattr(model, "_supports_attention_backend", False):
        return "it does not take its attention from transformers' interface"
    if getattr(model, "_is_stateful", False) or any(isinstance(m, nn.Conv1d) for m in model.modules()):
        return "it carries a state from token to token"
    parameters = inspect.signature(model.forward).parameters
    if "position_ids" not in parameters or "kwargs" not in parameters:
        return "its forward does not take positions and offsets"
    _, keeps_windows = _WAYS[implementation]
    config: Any = model.config
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if keeps_windows and kinds <= {"full_attention", "sliding_attention"}:
        return ""
    if not sees_whole_past(config, sequence_length):
        return f"not all of its layers attend to the whole past, which {implementation!r} would forget"
    return ""


def _implementation(model: nn.Module) -> str | None:
    implementation: str | None = getattr(getattr(model, "config", None), "_attn_implementation", None)
    return implementation


def _unknown(implementation: str | None) -> str:
    return f"nobody has said how attention {implementation!r} is told where documents begin"
