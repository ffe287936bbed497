"""The formulas of a plan with its numbers put in. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.plan.attained import attained
from stoker.plan.flops import count_work
from stoker.plan.head_chunks import chunk_length
from stoker.plan.inventory import Inventory, Method, take_inventory
from stoker.plan.time import PARTS

if TYPE_CHECKING:
    from stoker.plan.plan import Plan


@dataclass(frozen=True)
class Formula:
    """How one number came about."""

    name: str
    terms: str
    """The formula, numbers put in."""
    value: str
    source: str = ""


def explain(plan: Plan) -> Iterator[Formula]:
    """One formula for each component of memory, then time and cost."""
    method = Method(plan.facts.adapter, plan.facts.quantized, plan.facts.frozen, plan.facts.trained)
    inventory = take_inventory(plan.architecture, method)
    yield _weights(plan, inventory)
    yield from _trained(plan, inventory)
    yield from _passes(plan)
    yield _total(plan)
    if plan.time is not None:
        yield from _time(plan)
    if plan.cost is not None and plan.cost.on_demand is not None and plan.time is not None:
        price = plan.cost.on_demand
        terms = f"{plan.time.hours.mid:.4g} h x {plan.target.gpus} GPUs x ${price.mid:g} an hour"
        assert plan.cost.on_demand_usd is not None
        yield Formula("cost", terms, f"${plan.cost.on_demand_usd.mid:,.2f}", price.source)


def _weights(plan: Plan, inventory: Inventory) -> Formula:
    sharding, situation = plan.facts.sharding, plan.situation
    size = situation.master_bytes if sharding.weight_bytes is None else sharding.weight_bytes
    terms = [f"{inventory.trained:,} trained x {size:g} B"] if inventory.trained else []
    if inventory.frozen:
        terms.append(f"{inventory.frozen:,} frozen x {situation.compute_bytes} B")
    over = f" / {sharding.weights_over} ranks" if sharding.weights_over > 1 else ""
    text = f"({' + '.join(terms)}){over}" if over else " + ".join(terms)
    if (quantized := plan.facts.quantized) is not None:
        text += f" + {inventory.quantized:,} quantized x {quantized.bytes_per_weight:.4g} B"
    return _bytes("weights", text, plan.memory.per_component["weights"])


def _trained(plan: Plan, inventory: Inventory) -> Iterator[Formula]:
    """What there is for each trained parameter only."""
    facts, situation = plan.facts, plan.situation
    sharding, optimizer = facts.sharding, facts.optimizer
    gradient = sharding.gradient_bytes or situation.master_bytes
    trained = f"{inventory.trained:,}"
    yield _bytes(
        "gradients",
        f"{trained} x {gradient:g} B{_over(sharding.gradients_over)}",
        plan.memory.moments["update"]["gradients"],
    )
    if sharding.master_bytes:
        text = f"{trained} x {sharding.master_bytes:g} B{_over(sharding.states_over)}"
        yield _bytes("master weights", text, plan.memory.per_component["master_weights"])
    moment = sharding.state_bytes or situation.state_bytes
    if optimizer.moment_bytes is not None:
        moment = optimizer.moment_bytes
    text = f"{trained} x {optimizer.moments:g} moments of {optimizer.name} x {moment:g} B"
    text += _over(sharding.states_over)
    if sharding.optimizer_on != "device":
        text += f", but on the {sharding.optimizer_on}"
    yield _bytes("optimizer", text, plan.memory.per_component["optimizer"])


def _over(ranks: int) -> str:
    return f" / {ranks} ranks" if ranks > 1 else ""


def _passes(plan: Plan) -> Iterator[Formula]:
    batch, architecture, memory = plan.situation.micro_batch, plan.architecture, plan.memory
    kept = memory.per_component["activations"]
    each = kept / (batch.tokens * architecture.num_layers)
    yield _bytes(
        "activations",
        f"{batch.tokens:,} positions x {architecture.num_layers} blocks x {each:,.0f} B, "
        "what autograd keeps of each operation",
        kept,
        "torch's derivatives.yaml, operation by operation",
    )
    logits = memory.per_component["logits"]
    at_once = batch.supervised
    if not architecture.changes_logits:
        at_once = min(at_once, chunk_length(architecture.vocab_size))
    per_logit = logits / (at_once * architecture.vocab_size)
    yield _bytes(
        "logits",
        f"{at_once:,} supervised at a time x {architecture.vocab_size:,} in the vocabulary x "
        f"{per_logit:.3g} B at the {memory.peak_moment}",
        logits,
    )
    yield _bytes(
        "buffers",
        "gathered weights, casts, reduction, what operations take and give back",
        memory.per_component["buffers"],
    )


def _total(plan: Plan) -> Formula:
    memory = plan.memory
    terms = (
        f"{memory.allocated / 1e9:,.2f} GB of tensors x {memory.reserved_factor:.2f} reserved by the "
        f"allocator + {memory.context / 1e9:,.2f} GB of context"
    )
    return _bytes("total", terms, memory.total)


def _time(plan: Plan) -> Iterator[Formula]:
    assert plan.time is not None
    work, situation = count_work(plan.situation, plan.facts), plan.situation
    shares = attained(situation.gpu.name)
    yield Formula(
        "FLOPs",
        f"{work.matmul_flops / 1e12:,.4g} T in matrix products + {work.attention_flops / 1e12:,.4g} T "
        f"in attention, of the largest micro-batch; {situation.accumulation} of them in a step",
        f"{situation.accumulation * work.executed_flops / 1e12:,.4g} T a step and rank",
    )
    yield Formula(
        "speed",
        f"{situation.gpu.bf16_flops / 1e12:,.4g} TFLOPS by the data sheet, of which matrix products "
        f"attain {shares.matmul:.0%} and attention {shares.attention:.0%}",
        f"MFU {plan.time.mfu:.0%}",
        shares.source,
    )
    parts = [f"{name} {seconds:.3g}" for name in PARTS if (seconds := getattr(plan.time, name))]
    yield Formula("step", f"{' + '.join(parts)} s", f"{plan.time.step_seconds.mid:.4g} s")
    yield Formula(
        "time",
        f"{plan.steps:,} steps x {plan.time.step_seconds.mid:.4g} s + {plan.time.evaluation:.3g} s of "
        f"evaluations + {plan.time.checkpoint:.3g} s of checkpoints",
        f"{plan.time.run_seconds.mid:,.4g} s",
    )


def _bytes(name: str, terms: str, value: float, source: str = "") -> Formula:
    return Formula(name, terms, f"{value / 1e9:,.3f} GB", source)
