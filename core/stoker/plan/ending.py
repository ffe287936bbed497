"""From the last block to the loss: final norm, head for supervised tokens, cross-entropy. Torch-free.

As `stoker.train.loss.CausalLMLoss` computes it, or as a plugin says that its loss does. Where the whole
model is compiled, all this is taken for what it is without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stoker.plan.block import BlockWriter
from stoker.plan.surroundings import Surroundings, Weight
from stoker.plan.tape import Tape
from stoker.plan.values import FLOAT32, Footprint, Moment, Peak, Value

if TYPE_CHECKING:
    from stoker.plan.facts import Loss
    from stoker.plan.inventory import Inventory

_HEAD = "head"


@dataclass(frozen=True)
class Ending:
    """Bytes of what comes after the blocks."""

    forward: tuple[Moment, ...]
    """Candidates for the worst time: inside the norm, and when the model returns its logits."""
    loss: Moment
    backward: tuple[Moment, ...]
    """Inside the loss, and from the logits down."""
    backward_alone: tuple[Moment, ...]
    source: float
    """Bytes of what the last block gives."""
    gradients: float
    """Of final norm and head, as they are kept."""


def write_ending(
    around: Surroundings,
    inventory: Inventory,
    item: int,
    *,
    needs_grad: bool,
    loss: Loss | None = None,
) -> Ending:
    """`item`: bytes of an element of the residual stream."""
    around = replace(around, compiled=False)
    architecture, batch = around.architecture, around.micro_batch
    name = architecture.family.final_norm
    writer = BlockWriter(
        around, {**_final_norm(inventory), f"{_HEAD}.weight": inventory.head}, False, None
    )
    tape = writer.tape
    source = tape.value(batch.tokens * architecture.hidden_size, item, needs_grad=needs_grad)
    normed = writer.norm(source, name)
    in_norm = tape.forward_peak((), normed)
    selected = tape.make(batch.supervised * architecture.hidden_size, normed.item, [normed])
    logits = writer.linear(selected, _HEAD, batch.supervised * architecture.vocab_size)
    if architecture.family.logit_softcap:
        logits = tape.scale(tape.map(tape.scale(logits), "output"))
    footprint = tape.footprint(logits)
    # What capping the logits keeps of them.
    capped = logits.nbytes if architecture.family.logit_softcap and logits.needs_grad else 0.0
    saved = Peak(footprint.kept - capped, footprint.all_casts)
    held = Peak(saved.saved, saved.casts, _unsaved(tape, normed))
    sizes = _core_sizes(logits) if loss is None else _sizes(loss, logits, architecture.vocab_size)
    return Ending(
        forward=(Moment(Peak(flying=in_norm), 0.0, 0.0), Moment(held, sizes.forward + capped, 0.0)),
        loss=Moment(saved, sizes.loss + capped, 0.0),
        backward=_backward(footprint.backward, footprint, logits, sizes, capped),
        backward_alone=_backward(footprint.backward_alone, footprint, logits, sizes, capped),
        source=source.nbytes,
        gradients=footprint.gradients,
    )


def _unsaved(tape: Tape, value: Value) -> float:
    """Bytes of a value that only the model's forward itself holds."""
    saved = {storage for node in tape.nodes for storage in node.saved}
    return 0.0 if value.storage in saved else value.nbytes


@dataclass(frozen=True)
class _Sizes:
    """Bytes of logits and what is made of them."""

    forward: float
    """When the model returns them."""
    loss: float
    backward: float
    """Inside the loss."""
    gradient: float
    """Of the logits, as it reaches the head."""


def _core_sizes(logits: Value) -> _Sizes:
    """Forward: logits, a copy in float32 where they are narrower, and what log_softmax gives.

    Backward: log_softmax's output, the gradient of that, and its own.
    """
    copies = 1 if logits.item == FLOAT32 else 2
    return _Sizes(
        forward=logits.nbytes,
        loss=logits.nbytes + copies * logits.numel * FLOAT32,
        backward=3.0 * logits.numel * FLOAT32,
        gradient=logits.nbytes,
    )


def _sizes(loss: Loss, logits: Value, vocabulary: int) -> _Sizes:
    kept = loss.kept_bytes * logits.numel
    working = loss.working_bytes * min(logits.numel, loss.working_tokens * vocabulary or logits.numel)
    return _Sizes(kept, kept + working, kept + working, min(kept + working, logits.nbytes))


def _backward(
    peak: Peak, footprint: Footprint, logits: Value, sizes: _Sizes, capped: float
) -> tuple[Moment, ...]:
    """First in the loss; then from the logits down."""
    kept = Peak(footprint.kept - capped, footprint.kept_casts)
    in_loss = Moment(kept, sizes.backward + capped, 0.0)
    below = Peak(peak.saved, peak.casts, max(0.0, peak.flying - logits.nbytes), peak.gradients)
    return in_loss, Moment(below, min(peak.flying, sizes.gradient), 0.0)


def _final_norm(inventory: Inventory) -> dict[str, Weight]:
    name = f"{inventory.architecture.family.final_norm}.weight"
    found = [held for held in inventory.tensors if held.name == name]
    return {name: Weight(found[-1].numel, found[-1].trained)} if found else {}
