"""Which attention runs, as `stoker.train.attention` and `documents` choose it. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.situation import MicroBatch

Attention = Literal["kernel", "kernel_by_document", "kernel_with_mask", "unfused", "scores"]
"""A fused kernel for all; one call of it for each document; with a mask, for which keys and values are
repeated for every query head; torch's composition of other kernels, which takes dropout on a CPU; or
scores as a tensor, by transformers."""

_LARGEST_HEAD = 256
"""Channels that the kernel for documents of various lengths takes."""


def attention_of(
    implementation: str,
    architecture: Architecture,
    window: int | None,
    batch: MicroBatch,
    *,
    packed: bool,
    on_cpu: bool,
    compute_bytes: int,
    compiled: bool,
) -> Attention:
    """The attention of a layer that sees `window` positions (None: all)."""
    if implementation == "eager" or (
        implementation == "sdpa" and architecture.family.attention == "eager"
    ):
        return "scores"
    if implementation != "sdpa":
        return "kernel"
    if on_cpu and architecture.dropouts.get("attention"):
        return "unfused"
    if packed:
        if on_cpu and not compiled:
            return "kernel_by_document"
        takes = compute_bytes == 2 and architecture.head_size % 8 == 0
        if not on_cpu and takes and architecture.head_size <= _LARGEST_HEAD:
            return "kernel"
        return "kernel_with_mask"
    return "kernel" if window is None or window >= batch.positions else "kernel_with_mask"


def shared_by_layers(
    implementation: str, architecture: Architecture, batch: MicroBatch, item: int, *, packed: bool
) -> float:
    """Bytes of masks that are made once for all layers."""
    if implementation == "eager" or architecture.family.attention == "eager":
        if packed:
            return 2.0 * batch.positions**2
        kinds = len(set(architecture.windows))
        return float(kinds * batch.rows * batch.positions**2 * item)
    windows = {w for w in architecture.windows if w is not None and w < batch.positions}
    if implementation != "sdpa" or packed or not windows:
        return 0.0
    return float(batch.rows * batch.positions**2)
