"""Tensors of a forward pass as sizes, its operations, and what they come to. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FLOAT32 = 4
INDEX = 8


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A tensor of the forward pass."""

    numel: float
    item: int
    """Bytes of an element."""
    needs_grad: bool
    storage: int
    """Views share it."""

    @property
    def nbytes(self) -> float:
        """Bytes, of a view only its own part."""
        return self.numel * self.item


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the backward pass."""

    outputs: tuple[Value, ...]
    inputs: tuple[Value, ...]
    """Those that get a gradient."""
    saved: tuple[int, ...] = ()
    passes: bool = False
    """The gradient goes on as it is, without a copy."""
    backward_bytes: float = 0.0
    """Taken and given back while this operation runs backward."""
    parameter_gradient: float = 0.0
    """Bytes of a parameter's gradient as it leaves this operation ..."""
    stored_gradient: float = 0.0
    """... and as it is kept for the update."""
    is_kernel: bool = False
    """A matrix product or attention, which a compiler does not join with what is around it."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes at the worst time of a backward pass."""

    saved: float = 0.0
    """What forward kept and is not used up yet."""
    casts: float = 0.0
    """Of copies of weights in the compute dtype the same."""
    flying: float = 0.0
    """Gradients of activations, temporaries, and a parameter's gradient on its way."""
    gradients: float = 0.0
    """Gradients of parameters that are complete."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.saved + self.casts + self.flying + self.gradients


def add(first: Peak, second: Peak) -> Peak:
    """Bytes of two things that are there at a time."""
    return Peak(
        first.saved + second.saved,
        first.casts + second.casts,
        first.flying + second.flying,
        first.gradients + second.gradients,
    )


class Moment(NamedTuple):
    """A time at which memory may be fullest."""

    peak: Peak
    logits: float
    done: float
    """Gradients of parts whose backward is over, in the dtype they are kept in."""

    @property
    def fixed(self) -> float:
        """Bytes that do not depend on who keeps gradients."""
        return self.peak.total + self.logits


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one run of a tape."""

    kept: float
    """Saved for backward at the end of forward, without copies of weights."""
    keeps_source: bool
    """Whether the tape's first value is among that."""
    kept_casts: float
    """Copies of weights in the compute dtype that are saved."""
    all_casts: float
    """All such copies that are made: autocast keeps them to the end of forward."""
    forward_peak: float
    """The most at any time of forward, with what has been saved so far, without copies of weights."""
    unsaved_peak: float
    """The same where nothing is saved: the first forward of a recomputed block."""
    recomputing_peak: float
    """The most at any time of the second one, which ends where all is saved."""
    products: float
    """Outputs of matrix products and attention."""
    selective_peak: float
    """The most while all but these are recomputed."""
    waiting: float
    """Gradients that there are when the backward first asks for something saved: where that has to be
    computed again, they wait for it."""
    fetched: float
    """The most that one operation of the backward has saved, copies of weights included."""
    backward: Peak
    """Gradients of parameters add up, in the dtype they are kept in."""
    backward_alone: Peak
    """Gradients of parameters leave at once."""
    gradients: float
    """Of the tape's own parameters, as they are kept."""
    output: Value
