"""Bytes that a rank needs, by component and at each moment of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.plan.facts import Facts
    from stoker.plan.situation import Situation

COMPONENTS = (
    "weights",
    "gradients",
    "master_weights",
    "optimizer",
    "activations",
    "logits",
    "buffers",
)
"""What tensors are for. `buffers`: gathered weights, reduction, casts, update temporaries."""

MOMENTS = ("forward", "loss", "backward", "update")
"""The end of forward, the loss, the worst of backward, the optimizer's step."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one rank. The peak is the largest moment; components are those of that moment."""

    moments: Mapping[str, Mapping[str, float]]
    """Component -> bytes, by moment."""
    context: float
    """Outside of tensors: CUDA context, communicators, libraries' workspaces."""
    reserved_factor: float
    """Bytes that the allocator reserves for each byte of tensors."""
    capacity: float
    host_bytes: float = 0.0
    """Of a rank, in host memory."""
    nvme_bytes: float = 0.0
    disk_bytes: float = 0.0
    """Checkpoints of the whole run."""
    notes: tuple[str, ...] = field(default=())

    @property
    def peak_moment(self) -> str:
        """The moment with the most bytes."""
        return max(self.moments, key=lambda moment: sum(self.moments[moment].values()))

    @property
    def per_component(self) -> Mapping[str, float]:
        """Bytes at the peak."""
        return self.moments[self.peak_moment]

    @property
    def allocated(self) -> float:
        """Bytes of tensors at the peak: what `torch.cuda.max_memory_allocated` shows."""
        return sum(self.per_component.values())

    @property
    def total(self) -> float:
        """What the device must have: reserved at the peak, and the context."""
        return self.allocated * self.reserved_factor + self.context

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return self.total <= self.capacity


def estimate_memory(situation: Situation, facts: Facts, *, keep: int = 2) -> MemoryEstimate:
    """Bytes of one rank, the fullest, at each moment of a step; `keep` is `checkpoint.keep`.

    Quick: what depends on model, micro-batch, method and precision only is worked out once.
    """
    from stoker.plan.estimating import Estimator

    return Estimator(situation, facts).estimate(keep)
