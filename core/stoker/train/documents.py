"""Attention within documents that share a row: none may see another.

Shapes: B rows of T positions, H heads of C channels (keys and values may have fewer), D documents.
`offsets` is int32 [D + 1], on the device, as in `stoker.data.batches.Documents`.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward


def packed_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    longest: int,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **keywords: Any,
) -> Tensor:
    """Causal attention of each document by itself: [B, H, T, C] -> [B, T, H, C].

    On a CPU one call of the kernel for each document: 2 to 40 times as fast there as one with a mask.
    On CUDA the kernel for documents of various lengths, where it takes the dtype and head size. A mask
    otherwise, and where the forward is compiled for a CPU, which must not depend on lengths.
    """
    num_rows, _, length, _ = query.shape
    query, key, value = (_in_one_row(x) for x in in_compute_dtype(query, key, value))
    keywords |= {"dropout": dropout, "scaling": scaling}
    if query.device.type == "cpu" and not torch.compiler.is_compiling():
        output = _each_document(module, query, key, value, offsets, keywords)
    elif dropout == 0 and _varlen_takes(query, value):
        output = _varlen(query, key, value, offsets, longest, scaling)
    else:
        mask = document_mask(offsets, num_rows * length)
        output, _ = sdpa_attention_forward(module, query, key, value, mask, **keywords)
    return output.reshape(num_rows, length, *output.shape[2:])


def in_compute_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """In the dtype of autocast where it is on: kernels of their own are not on its list.

    Rotary embeddings leave queries and keys in float32 there.
    """
    device_type = tensors[0].device.type
    if not (torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)):
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype(device_type)) for tensor in tensors)


def document_mask(offsets: Tensor, length: int) -> Tensor:
    """bool [1, 1, length, length]: whether a position (third) may attend to another (fourth)."""
    positions = torch.arange(length, device=offsets.device)
    document = document_of(offsets, positions)
    same = document[:, None] == document[None, :]
    return (same & (positions[:, None] >= positions[None, :]))[None, None]


def document_of(offsets: Tensor, positions: Tensor) -> Tensor:
    """The number of the document that each flat position belongs to."""
    return torch.bucketize(positions, offsets[1:], right=True)


def _in_one_row(tensor: Tensor) -> Tensor:
    """[B, H, T, C] -> [1, H, B * T, C]; no copy for a single row."""
    if tensor.shape[0] == 1:
        return tensor
    return tensor.transpose(0, 1).flatten(1, 2)[None]


def _each_document(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    keywords: dict[str, Any],
) -> Tensor:
    lengths = offsets.diff().tolist()  # no synchronisation: this is a CPU
    parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [sdpa_attention_forward(module, q, k, v, None, **keywords)[0] for q, k, v in parts]
    return torch.cat(outputs, dim=1)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scaling: float | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    output = varlen_attn(
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=True,
    )
    assert isinstance(output, Tensor)
    return output[None]


def _varlen_takes(query: Tensor, value: Tensor) -> bool:
    """What FlashAttention-2 in torch asks for: half precision, compute capability 8.0, sizes."""
    size = query.shape[-1]
    return (
        query.device.type == "cuda"
        and torch.version.hip is None
        and query.dtype in (torch.float16, torch.bfloat16)
        and size == value.shape[-1]
        and size <= 256
        and size % 8 == 0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and _has_varlen()
    )


@cache
def _has_varlen() -> bool:
    """Whether this torch has the kernel, in the form that takes grouped heads (2.11 has not)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"window_size", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()
