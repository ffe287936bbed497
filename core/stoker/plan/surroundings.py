"""What the forward of a block depends on besides its family. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.plan.values import FLOAT32

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.facts import Adapter, Quantized
    from stoker.plan.situation import MicroBatch


@dataclass(frozen=True)
class Arithmetic:
    """In which dtypes a forward and backward run."""

    compute: int
    """Bytes of an activation."""
    autocasts: bool
    """Trained weights are float32 and are cast for matrix products; else all have the compute dtype."""
    gradient: int
    """Bytes of an element of a parameter's gradient as it is kept."""
    on_cpu: bool = False
    scales_loss: bool = False
    """float16: gradients of logits are made in the backward, after the loss has been scaled."""

    @property
    def trained(self) -> int:
        """Bytes of an element of a trained weight as the forward sees it."""
        return FLOAT32 if self.autocasts else self.compute


@dataclass(frozen=True)
class Weight:
    """What the forward needs to know of one parameter."""

    numel: int
    trained: bool
    quantized: bool = False
    adapted: bool = False
    """A low-rank update stands beside it ..."""
    update_numel: int = 0
    """... with so many elements."""
    is_layer: bool = True
    """The weight of an `nn.Linear`, not a parameter of a mixture."""


@dataclass(frozen=True)
class Surroundings:
    """What all blocks have in common."""

    architecture: Architecture
    arithmetic: Arithmetic
    micro_batch: MicroBatch
    implementation: str
    """Of attention, as `Facts.attention` has it."""
    packed: bool
    adapter: Adapter | None
    quantized: Quantized | None
    compiled: bool = False
    repeats_keys: bool = False
