"""How many positions a head works on at a time. Torch-free: for plans and for training."""

from __future__ import annotations

CHUNK_BYTES = 128 * 2**20
"""Of the logits of a chunk in float32."""
LEAST_POSITIONS = 32
ROWS_AT_ONCE = 8192
"""Rows of the head's weight whose gradient is added at a time, where it is kept wider than computed."""


def chunk_length(vocabulary: int) -> int:
    """Positions whose logits exist at a time."""
    return max(LEAST_POSITIONS, CHUNK_BYTES // (4 * vocabulary))
