"""From the last block to the loss: final norm, head for supervised tokens, cross-entropy. Torch-free.

As `stoker.train.loss.CausalLMLoss` computes it, or as a plugin says that its loss does: with the
gradients of a linear head made in the forward, in chunks; behind another head or in float16 with chunks
computed again in the backward; all at once where the model does something with its logits. Where the
whole model is compiled, all this is taken for what it is without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stoker.plan.block import BlockWriter
from stoker.plan.head_chunks import ROWS_AT_ONCE, chunk_length
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
    """Candidates for the worst time: inside the norm first, then in the head or when it returns."""
    loss: Moment
    backward: tuple[Moment, ...]
    """Inside the loss, and from the logits down, or from the head's gradients."""
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
    in_norm = Moment(Peak(flying=tape.forward_peak((), normed)), 0.0, 0.0)
    selected = tape.make(batch.supervised * architecture.hidden_size, normed.item, [normed])
    caps = architecture.family.logit_softcap
    if loss is None and not architecture.changes_logits and _is_plain(inventory.head, around):
        return _in_forward(around, tape, inventory.head, source, normed, selected, in_norm)
    logits = writer.linear(selected, _HEAD, batch.supervised * architecture.vocab_size)
    if caps:
        logits = tape.scale(tape.map(tape.scale(logits), "output"))
    elif architecture.scales_logits:
        logits = tape.scale(logits)
    footprint = tape.footprint(logits)
    # What capping the logits keeps of them.
    capped = logits.nbytes if caps and logits.needs_grad else 0.0
    saved = Peak(footprint.kept - capped, footprint.all_casts)
    held = Peak(saved.saved, saved.casts, _unsaved(tape, normed))
    if loss is not None:
        sizes = _sizes(loss, logits, architecture.vocab_size)
    elif architecture.changes_logits:
        sizes = _core_sizes(logits)
    else:
        sizes = _recomputed_sizes(logits, architecture.vocab_size)
    return Ending(
        forward=(in_norm, Moment(held, sizes.forward + capped, 0.0)),
        loss=Moment(saved, sizes.loss + capped, 0.0),
        backward=_backward(footprint.backward, footprint, logits, sizes, capped),
        backward_alone=_backward(footprint.backward_alone, footprint, logits, sizes, capped),
        source=source.nbytes,
        gradients=footprint.gradients,
    )


def _is_plain(head: Weight, around: Surroundings) -> bool:
    """Whether the head's gradients are made in its forward: not within anything of PEFT's."""
    is_wrapped = head.adapted or (head.trained and around.adapter is not None)
    return not (is_wrapped or head.quantized or around.arithmetic.scales_loss)


def _in_forward(
    around: Surroundings,
    tape: Tape,
    head: Weight,
    source: Value,
    normed: Value,
    selected: Value,
    in_norm: Moment,
) -> Ending:
    """Of a linear head, whose gradients are there when its forward ends.

    The tape's output is the gradient of the selected hidden states.
    """
    arithmetic, vocabulary = around.arithmetic, around.architecture.vocab_size
    compute, trained = arithmetic.compute, arithmetic.trained
    of_weight = head.numel * trained if head.trained else 0.0
    of_hidden = tape.make(
        selected.numel,
        compute,
        [selected],
        passes=True,
        parameter_gradient=of_weight,
        stored_gradient=head.numel * arithmetic.gradient if head.trained else 0.0,
    )
    footprint = tape.footprint(of_hidden)
    kept = of_hidden.nbytes if of_hidden.needs_grad else 0.0
    narrowed = selected.numel * compute if selected.item != compute else 0.0
    casts = head.numel * compute if head.trained and trained != compute else 0.0
    added = min(head.numel, ROWS_AT_ONCE * head.numel / vocabulary) * compute if casts else 0.0
    working = _unsaved(tape, normed) + selected.nbytes + narrowed + casts
    logits = _chunk(around.micro_batch.supervised, vocabulary) * vocabulary
    wide = 0.0 if compute == FLOAT32 else logits * FLOAT32
    saved = Peak(footprint.kept + kept, footprint.all_casts, 0.0, of_weight)
    in_softmax = Moment(replace(saved, flying=working), logits * compute + wide, 0.0)
    in_product = Moment(replace(saved, flying=working + added), logits * compute, 0.0)
    return Ending(
        forward=(in_norm, in_softmax, in_product),
        loss=Moment(saved, 0.0, 0.0),
        backward=(Moment(footprint.backward, 0.0, 0.0),),
        backward_alone=(Moment(footprint.backward_alone, 0.0, 0.0),),
        source=source.nbytes,
        gradients=footprint.gradients,
    )


def _chunk(supervised: float, vocabulary: int) -> float:
    """Tokens whose logits there are at a time."""
    return min(supervised, chunk_length(vocabulary))


def _recomputed_sizes(logits: Value, vocabulary: int) -> _Sizes:
    """As at once, for a chunk: in the head's forward, and again in its backward."""
    numel = _chunk(logits.numel / vocabulary, vocabulary) * vocabulary
    copies = 1 if logits.item == FLOAT32 else 2
    return _Sizes(
        forward=numel * (logits.item + copies * FLOAT32),
        loss=0.0,
        backward=numel * 3.0 * FLOAT32,
        gradient=numel * logits.item,
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
