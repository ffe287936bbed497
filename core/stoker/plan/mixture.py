"""A mixture of experts in the place of an MLP, as transformers 5.23 computes it. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.plan.surroundings import Weight
from stoker.plan.values import FLOAT32, INDEX, Value

if TYPE_CHECKING:
    from stoker.plan.block import BlockWriter


def write_mixture(writer: BlockWriter, normed: Value) -> Value:
    """All experts at once by grouped products, which autocast leaves alone."""
    tape, architecture, family = writer.tape, writer.architecture, writer.family
    chosen = writer.tokens * architecture.experts_per_token
    weights = _route(writer, normed, chosen)
    order = tape.value(chosen, INDEX)
    width = chosen * architecture.hidden_size
    selected = tape.make(width, normed.item, [normed], [order])
    inner = chosen * architecture.expert_size
    both = _grouped(writer, selected, f"{family.experts}.gate_up_proj", 2 * inner)
    first, second = tape.split(both, inner, inner)
    product = tape.mul(writer.activation(first), second)
    grown = _grouped(writer, product, f"{family.experts}.down_proj", selected.numel)
    weighted = tape.mul(grown, weights)
    back = tape.value(chosen, INDEX)
    weighted = tape.make(width, grown.item, [weighted], [back], backward_bytes=width * grown.item)
    summed = tape.make(normed.numel, weighted.item, [weighted])
    result = tape.cast(summed, normed.item)
    return _with_shared(writer, normed, result) if family.shared_expert else result


def _route(writer: BlockWriter, normed: Value, chosen: float) -> Value:
    """Probabilities of the chosen experts."""
    tape = writer.tape
    scores = writer.tokens * writer.architecture.num_experts
    logits = writer.linear(normed, writer.family.router, scores)
    shares = tape.map(tape.cast(logits, FLOAT32), "output")
    best = tape.make(chosen, FLOAT32, [shares], [tape.value(chosen, INDEX)])
    if not writer.family.routes_in_float32:
        best = tape.cast(best, logits.item)
    return tape.make(chosen, best.item, [best], [tape.value(chosen, INDEX)])


def _grouped(writer: BlockWriter, source: Value, name: str, numel: float) -> Value:
    weight = writer.weights[name]
    if weight.adapted:
        return merged_product(writer, source, weight, numel)
    item = writer.arithmetic.trained if weight.trained else writer.arithmetic.compute
    source = writer.tape.cast(source, item)
    output = writer.tape.make(
        numel,
        item,
        [source],
        [source] if weight.trained else [],
        parameter_gradient=weight.numel * item if weight.trained else 0.0,
        stored_gradient=weight.numel * writer.arithmetic.gradient if weight.trained else 0.0,
        is_kernel=True,
    )
    writer.tape.products.add(output.storage)
    return output


def merged_product(writer: BlockWriter, source: Value, weight: Weight, numel: float) -> Value:
    """PEFT adapts what is no layer of its own by adding the update to the weight itwriter."""
    tape, compute = writer.tape, writer.arithmetic.compute
    source = tape.cast(source, compute)
    # One kernel: the weight plus the product of the two small ones.
    merged = tape.make(
        weight.numel,
        compute,
        [],
        parameter_gradient=weight.update_numel * compute,
        stored_gradient=weight.update_numel * writer.arithmetic.gradient,
    )
    output = tape.make(numel, compute, [source, merged], [source, merged])
    tape.products.add(output.storage)
    return output


def _with_shared(writer: BlockWriter, normed: Value, result: Value) -> Value:
    tape, family = writer.tape, writer.family
    name, width = family.shared_expert, writer.architecture.shared_expert_size
    names = (f"{name}.gate_proj", f"{name}.up_proj", f"{name}.down_proj")
    shared = writer.mlp(normed, names, width)
    if family.shared_gate:
        share = tape.map(writer.linear(normed, family.shared_gate, writer.tokens), "output")
        shared = tape.mul(share, shared)
    return tape.add(result, shared)
