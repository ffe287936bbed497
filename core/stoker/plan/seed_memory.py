"""What the guide says of memory, asked whether it adds up."""

from __future__ import annotations

import math
from dataclasses import replace

from stoker.plan.finding import Finding
from stoker.plan.guide import Guide
from stoker.plan.seed import GB, per_gpu_gb, state_bytes, state_gib, total_gb

MASTER_BYTES = 4.0
"""Of a float32 copy of each weight."""


def two_gpu_counts_for_7b(guide: Guide) -> Finding | None:
    """Do the GPUs named below the memory table hold its total?"""
    least = total_gb(guide.sizes["7b"].parameters, guide).low
    short = {
        name: gpus.low * guide.gpu_gb[name]
        for name, gpus in guide.gpus_7b.items()
        if gpus.low * guide.gpu_gb[name] < least
    }
    if not short:
        return None
    held = " and ".join(
        f"{guide.gpus_7b[name].low:g} x {guide.gpu_gb[name]:g} = {gb:g}" for name, gb in short.items()
    )
    return Finding(
        name="gpus-for-7b",
        where="Memory Requirements",
        kind="contradiction",
        says="A 7B model is to fit on the lower of the GPU counts given for it.",
        follows=f"Its table needs at least {least:g} GB, and they hold {held} GB.",
        advice="Take the upper count, shard, or keep 8-bit states; see what `stoker plan` says.",
        numbers={"least_gb": least, **{f"{name}_gb": gb for name, gb in short.items()}},
    )


def one_gpu_or_none(guide: Guide) -> Finding | None:
    """Can a single GPU hold full training states?"""
    if guide.single_gpu_holds_7b:
        return None
    offers = [offer for offer in guide.cheat_sheet if offer.gpus == 1 and offer.method == "full"]
    named = [name for name, gpus in guide.gpus_7b.items() if gpus.low == 1]
    if not offers and not named:
        return None
    need = per_gpu_gb(guide.sizes["8b"].parameters, guide=guide)
    return Finding(
        name="one-gpu-or-none",
        where="Memory Requirements; Decision Framework",
        kind="contradiction",
        says="No GPU alone is said to hold the states of 7B, yet one of 80 GB to hold 7B and 8B.",
        follows=f"At {state_bytes(guide):g} bytes per parameter the states of 8B alone are {need:g} GB.",
        advice="One 80 GB GPU trains 8B whole with bfloat16 states (8 bytes) or 8-bit states (6) only.",
        numbers={"need_gb": need, "statements": float(len(offers) + len(named))},
    )


def when_needs_more_than_memory(guide: Guide) -> Finding | None:
    """Is the first section's GPU count that of the memory section?"""
    upper = max(gpus.high for gpus in guide.gpus_7b.values())
    least = math.ceil(guide.total_7b_gb.low / guide.gpu_gb["a100-80gb"])
    if guide.gpus_7b_when.low <= upper:
        return None
    return Finding(
        name="four-to-eight-gpus",
        where="When Full Fine-Tuning Beats LoRA",
        kind="contradiction",
        says=f"Full fine-tuning of 7B is said to need {guide.gpus_7b_when.low:g} to "
        f"{guide.gpus_7b_when.high:g} GPUs, later at most {upper:g}.",
        follows=f"{guide.total_7b_gb.low:g} GB are {least} of 80 GB: more are for speed, not memory.",
        advice="The planner says how many hold it; how many to take is a question of hours.",
        numbers={"least_gpus": least, "upper_gpus": upper},
    )


def gib_called_gb(guide: Guide) -> Finding | None:
    """Are the larger models in the unit of the 7B table?"""
    stated = {name: size for name, size in guide.sizes.items() if size.total}
    errors = {
        name: size.total / (size.parameters * state_bytes(guide) / GB) - 1
        for name, size in stated.items()
    }
    in_gib = {name: size.total / state_gib(size.parameters, guide) - 1 for name, size in stated.items()}
    if all(abs(error) <= 0.03 for error in errors.values()):
        return None
    first = stated["8b"]
    need = first.parameters * state_bytes(guide) / GB
    return Finding(
        name="gib-called-gb",
        where="Memory Requirements, Scaling to Larger Models",
        kind="contradiction",
        says=f"8B is said to need {first.total:g} GB in all, and 7B 84 GB before activations.",
        follows=f"At the same {state_bytes(guide):g} bytes, 8B is {need:g} GB without activations; its "
        f"larger sizes come out within {max(map(abs, in_gib.values())):.1%} in GiB, "
        f"{max(map(abs, errors.values())):.1%} in GB.",
        advice="Read that table as GiB, and without activations; stoker counts bytes.",
        numbers={
            "need_gb": need,
            "largest_error_gb": max(map(abs, errors.values())),
            "largest_error_gib": max(map(abs, in_gib.values())),
        },
    )


def no_master_weights(guide: Guide) -> Finding | None:
    """Does its recipe for mixed precision take what its table counts?"""
    if guide.master_bytes:
        return None
    with_master = replace(guide, master_bytes=MASTER_BYTES)
    size = guide.sizes["405b"]
    need = size.parameters * state_bytes(with_master) / GB
    held = size.gpus * guide.gpu_gb["a100-80gb"]
    large = per_gpu_gb(guide.sizes["70b"].parameters, "full", "zero-3", 16, with_master)
    return Finding(
        name="no-master-weights",
        where="Memory Requirements; Training Optimization Techniques",
        kind="contradiction",
        says="Weights are to be updated in float32 and then cast, and no float32 weights are counted.",
        follows=f"With them it is {state_bytes(with_master):g} bytes per parameter: 405B needs "
        f"{need:g} GB of the {held:g} on {size.gpus} GPUs, 70B {large:g} GB on each of 16.",
        advice="train.precision says which: bf16_fp32_states is the table's 12 bytes, bf16_mixed 16.",
        numbers={"need_gb": need, "held_gb": held, "per_gpu_70b_gb": large},
    )


def room_for_activations_of_405b(guide: Guide) -> Finding | None:
    """Do the GPUs for the largest model have room for what its table calls activations?"""
    size = guide.sizes["405b"]
    states = size.parameters * state_bytes(guide) / GB
    left = (size.gpus * guide.gpu_gb["a100-80gb"] - states) / size.gpus
    if left >= guide.activations_gb.high:
        return None
    return Finding(
        name="room-beside-405b",
        where="Memory Requirements, Scaling to Larger Models",
        kind="omission",
        says=f"405B is to fit on {size.gpus} GPUs of 80 GB.",
        follows=f"Its states leave {left:.1f} GB on each, and 7B alone is given up to "
        f"{guide.activations_gb.high:g} GB of activations.",
        advice="Take more GPUs; stoker counts activations, logits and gathered weights.",
        numbers={"left_gb": left},
    )


def zero_rows_are_states_only(guide: Guide) -> Finding | None:
    """What do the ZeRO rows leave out, by the guide's own table?"""
    parameters = guide.sizes["7b"].parameters
    states = per_gpu_gb(parameters, "full", "zero-3", 8, guide)
    most = states + guide.activations_gb.high
    if guide.activations_gb.high <= 0.03 * states:
        return None
    return Finding(
        name="zero-rows-without-activations",
        where="DeepSpeed ZeRO",
        kind="omission",
        says=f"Stage 3 is said to take {states:.1f} GB per GPU for 7B on 8.",
        follows=f"ZeRO divides no activations: with those of its own table it is up to {most:.1f} GB.",
        advice="Add activations and the buffers of gathering and reduction, as stoker does.",
        numbers={"states_gb": states, "most_gb": most},
    )


def baseline_saves_too_much(guide: Guide) -> Finding | None:
    """Can checkpointing, bf16 and FlashAttention save the share of memory that is said?"""
    activations = guide.activations_gb.high
    parameters = guide.sizes["7b"].parameters
    # At best for the claim: all in float32 before, activations twice as large, the most saved of them.
    before = parameters * (4 + 4 + guide.moment_bytes * guide.moments) / GB + 2 * activations
    after = parameters * state_bytes(guide) / GB
    after += activations * (1 - guide.checkpointing_saves.high)
    saved = 1 - after / before
    if saved >= guide.baseline_saves.low:
        return None
    return Finding(
        name="baseline-saves",
        where="Training Optimization Techniques",
        kind="contradiction",
        says=f"The three together are to cut memory by {guide.baseline_saves.low:.0%} to "
        f"{guide.baseline_saves.high:.0%}.",
        follows=f"From all float32 ({before:g} GB for 7B) to its own table with checkpointing "
        f"({after:.1f} GB) it is {saved:.0%}: states do not shrink by checkpointing.",
        advice="What shrinks states: an adapter, sharding, 8-bit states, the regime bf16.",
        numbers={"before_gb": before, "after_gb": after, "saved": saved},
    )
