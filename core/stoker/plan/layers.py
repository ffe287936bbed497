"""What checkpointing makes of a block: what it keeps, where, and what it takes to get the rest back.

Torch-free. As `stoker_plugins.activation_checkpointing` does it; the modes are those of `Checkpointing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.plan.values import Footprint, Peak, add

if TYPE_CHECKING:
    from stoker.plan.facts import Checkpointing


@dataclass(frozen=True)
class Layer:
    """One block, treated as checkpointing says."""

    footprint: Footprint
    source: float
    """Bytes of its input."""
    keeps_source: bool
    kept: float
    """Between its forward and its backward, without casts."""
    casts: float
    on_host: float
    forward_peak: float
    backward: Peak
    backward_alone: Peak


def treat(footprint: Footprint, checkpointing: Checkpointing, source: float, on_cpu: bool) -> Layer:
    """What becomes of a block; `source`: bytes of its input, which are not among the footprint's."""
    treatment = _TREATMENTS[checkpointing.mode]
    return treatment(footprint, source, checkpointing.inputs_on_host, on_cpu)


def _untouched(footprint: Footprint, source: float, inputs_on_host: bool, on_cpu: bool) -> Layer:
    return Layer(
        footprint,
        source,
        keeps_source=footprint.keeps_source,
        kept=footprint.kept,
        casts=footprint.kept_casts,
        on_host=0.0,
        forward_peak=footprint.forward_peak,
        backward=footprint.backward,
        backward_alone=footprint.backward_alone,
    )


def _in_full(footprint: Footprint, source: float, inputs_on_host: bool, on_cpu: bool) -> Layer:
    """Only the input is kept."""
    leaves = inputs_on_host and not on_cpu
    fetched = source if inputs_on_host else 0.0
    forward = Peak(footprint.recomputing_peak + fetched, footprint.all_casts, footprint.waiting)
    return Layer(
        footprint,
        source,
        keeps_source=not inputs_on_host,
        kept=0.0 if leaves else source,
        casts=0.0,
        on_host=source if leaves else 0.0,
        forward_peak=source + footprint.unsaved_peak,
        backward=add(_worse(forward, footprint.backward), Peak(saved=source)),
        backward_alone=add(_worse(forward, footprint.backward_alone), Peak(saved=source)),
    )


def _selectively(footprint: Footprint, source: float, inputs_on_host: bool, on_cpu: bool) -> Layer:
    """The input and what matrix products and attention gave."""
    kept = source + footprint.products
    forward = Peak(footprint.selective_peak, footprint.all_casts, footprint.waiting)
    return Layer(
        footprint,
        source,
        keeps_source=True,
        kept=kept,
        casts=0.0,
        on_host=0.0,
        forward_peak=source + max(footprint.products, footprint.unsaved_peak),
        backward=add(_worse(forward, footprint.backward), Peak(saved=source)),
        backward_alone=add(_worse(forward, footprint.backward_alone), Peak(saved=source)),
    )


def _offloaded(footprint: Footprint, source: float, inputs_on_host: bool, on_cpu: bool) -> Layer:
    """All that is saved, copies of weights too, waits in host memory, and comes back one by one."""
    moved = footprint.kept + footprint.kept_casts + (source if footprint.keeps_source else 0.0)
    here = moved if on_cpu else 0.0

    def fetched(peak: Peak) -> Peak:
        return Peak(here + footprint.fetched, 0.0, peak.flying, peak.gradients)

    return Layer(
        footprint,
        source,
        keeps_source=False,
        kept=here,
        casts=0.0,
        on_host=0.0 if on_cpu else moved,
        forward_peak=source + here + footprint.unsaved_peak,
        backward=fetched(footprint.backward),
        backward_alone=fetched(footprint.backward_alone),
    )


_TREATMENTS = {
    "none": _untouched,
    "full": _in_full,
    "selective": _selectively,
    "offload": _offloaded,
}


def _worse(first: Peak, second: Peak) -> Peak:
    return max(first, second, key=lambda peak: peak.total)
