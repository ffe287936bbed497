"""What a plan is about: a model, a regime, ranks, and the size of a micro-batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.gpus import Gpu

REGIME_BYTES = {
    "bf16": (2, 2, 2),
    "bf16_fp32_states": (2, 2, 4),
    "bf16_mixed": (4, 2, 4),
    "fp16_mixed": (4, 2, 4),
    "fp32": (4, 4, 4),
}
"""Bytes of master weight (its gradient has the same), compute and each moment, by `train.precision`."""


@dataclass(frozen=True)
class MicroBatch:
    """One forward pass on one rank."""

    rows: int
    """Rows of the tensors: 1 where documents are packed."""
    positions: int
    """Tokens of each row, padding included."""
    supervised: int
    """Tokens that carry loss, over all rows: the head computes logits for these only."""
    longest_document: int
    """Positions that attend to each other."""

    @property
    def tokens(self) -> int:
        """Positions of the whole micro-batch, padding included."""
        return self.rows * self.positions


@dataclass(frozen=True)
class Situation:
    """Everything that plugins and estimates may look at. Sizes are of one rank unless said otherwise."""

    architecture: Architecture
    precision: str
    micro_batch: MicroBatch
    """The largest that occurs."""
    gpu: Gpu
    ranks: int = 1
    nodes: int = 1
    accumulation: int = 1
    """Micro-batches of a rank in a step."""

    @property
    def ranks_per_node(self) -> int:
        """GPUs of each node."""
        return max(1, self.ranks // self.nodes)

    @property
    def master_bytes(self) -> int:
        """Of a trained weight, and of its gradient."""
        return REGIME_BYTES[self.precision][0]

    @property
    def compute_bytes(self) -> int:
        """Of an activation, and of a frozen weight."""
        return REGIME_BYTES[self.precision][1]

    @property
    def state_bytes(self) -> int:
        """Of each of AdamW's moments."""
        return REGIME_BYTES[self.precision][2]
