"""The guide's own arithmetic, for `stoker plan --profile seed`.

It says what the guide says, not what a run will take: nominal sizes, 12 bytes per parameter (bfloat16
weights and gradients, two float32 moments, no master copy), decimal GB, no activations where ZeRO
divides, no buffers, logits or CUDA context. What is known better stands in `memory.py`; where the
guide disagrees with itself, `seed_findings.py` says so.
"""

from __future__ import annotations

import math

from stoker.plan.guide import GUIDE, Bounds, Guide, Row

GB = 1e9
GIB = 2.0**30

METHODS = ("full", "lora", "qlora")
DIVIDED = {
    "default": frozenset[str](),
    "zero-1": frozenset({"optimizer"}),
    "zero-2": frozenset({"optimizer", "gradients"}),
    "zero-3": frozenset({"optimizer", "gradients", "weights"}),
    "fsdp-no_shard": frozenset[str](),
    "fsdp-shard_grad_op": frozenset({"optimizer", "gradients"}),
    "fsdp-full_shard": frozenset({"optimizer", "gradients", "weights"}),
}
"""What each strategy divides by the number of GPUs, with the guide's FSDP names."""


def state_bytes(guide: Guide = GUIDE) -> float:
    """Bytes per parameter of weights, gradients, AdamW's moments and, if any, master weights."""
    moments = guide.moment_bytes * guide.moments
    return guide.weight_bytes + guide.gradient_bytes + moments + guide.master_bytes


def components_gb(
    parameters: float,
    method: str = "full",
    engine: str = "default",
    gpus: int = 1,
    guide: Guide = GUIDE,
) -> dict[str, float]:
    """GB of one GPU by component, without activations.

    An adapter has the upper end of the guide's share of trainable parameters; what is frozen has
    neither gradients nor moments.
    """
    trained = parameters if method == "full" else parameters * guide.adapter_share.high
    frozen_bytes = {"full": 0.0, "lora": guide.weight_bytes, "qlora": guide.qlora_bytes}[method]
    whole = {
        "weights": trained * guide.weight_bytes + parameters * frozen_bytes,
        "gradients": trained * guide.gradient_bytes,
        "optimizer": trained * (guide.moment_bytes * guide.moments + guide.master_bytes),
    }
    return {name: size / GB / (gpus if name in DIVIDED[engine] else 1) for name, size in whole.items()}


def per_gpu_gb(
    parameters: float,
    method: str = "full",
    engine: str = "default",
    gpus: int = 1,
    guide: Guide = GUIDE,
) -> float:
    """GB of one GPU, without activations: the guide's ZeRO rows."""
    return sum(components_gb(parameters, method, engine, gpus, guide).values())


def total_gb(parameters: float, guide: Guide = GUIDE) -> Bounds:
    """GB of full fine-tuning with the guide's range of activations, which is that of 7B."""
    states = parameters * state_bytes(guide) / GB
    return Bounds(states + guide.activations_gb.low, states + guide.activations_gb.high)


def state_gib(parameters: float, guide: Guide = GUIDE) -> float:
    """GiB without activations: what the guide's scaling table prints as GB."""
    return parameters * state_bytes(guide) / GIB


def gpus_for(gb: float, gpu_gb: float, gpus_per_node: int = 8) -> int:
    """GPUs that hold so many GB together; more than a node's are whole nodes."""
    gpus = math.ceil(gb / gpu_gb)
    return gpus if gpus <= gpus_per_node else math.ceil(gpus / gpus_per_node) * gpus_per_node


def effective_batch(micro_batch: int, gpus: int, accumulation: int) -> int:
    """Rows of an optimizer step."""
    return micro_batch * gpus * accumulation


def cost_usd(hours: Bounds, gpus: int, price: Bounds) -> Bounds:
    """Dollars: the least time at the lowest price to the most at the highest."""
    return hours.times(gpus).times(price)


def row_cost_usd(row: Row, guide: Guide = GUIDE) -> Bounds:
    """What a row of the guide's time estimates costs by the guide's prices."""
    return cost_usd(row.hours, row.gpus, guide.prices["a100-80gb"])


def spot_usd(usd: Bounds, guide: Guide = GUIDE) -> Bounds:
    """The same on spot machines, from the largest to the smallest saving; re-done work not counted."""
    return Bounds(usd.low * (1 - guide.spot_saves.high), usd.high * (1 - guide.spot_saves.low))


def checkpointed_gb(activations_gb: float, guide: Guide = GUIDE) -> Bounds:
    """What activation checkpointing leaves of activations."""
    saves = guide.checkpointing_saves
    return Bounds(activations_gb * (1 - saves.high), activations_gb * (1 - saves.low))


def with_flash_attention(hours: Bounds, guide: Guide = GUIDE) -> Bounds:
    """Hours of the same run once FlashAttention makes it 20 to 40 % faster."""
    faster = guide.flash_speedup
    return Bounds(hours.low / (1 + faster.high), hours.high / (1 + faster.low))


def with_offload(hours: Bounds, guide: Guide = GUIDE) -> Bounds:
    """Hours of the same run with states in host memory."""
    return hours.times(guide.offload_slowdown)


def with_adapter(hours: Bounds, guide: Guide = GUIDE) -> Bounds:
    """Hours of LoRA where full fine-tuning takes `hours`."""
    faster = guide.lora_speedup
    return Bounds(hours.low / faster.high, hours.high / faster.low)


def with_checkpointing(hours: Bounds, guide: Guide = GUIDE) -> Bounds:
    """Hours of the same run with recomputation: all of it is compute."""
    return hours.times(1 + guide.checkpointing_compute)


def hours(
    method: str,
    parameters: float,
    gpus: int,
    examples: int = GUIDE.row_examples,
    epochs: float = GUIDE.row_epochs,
    guide: Guide = GUIDE,
) -> Bounds:
    """Wall hours on A100s, scaled from the guide's row of the nearest size: GPU-hours are shared out.

    The guide has no row for QLoRA; LoRA's stands in.
    """
    row = nearest_row(method, parameters, guide)
    work = parameters / guide.sizes[row.size].parameters
    work *= examples * epochs / (guide.row_examples * guide.row_epochs)
    return row.hours.times(row.gpus * work / gpus)


def nearest_row(method: str, parameters: float, guide: Guide = GUIDE) -> Row:
    """The guide's time estimate for this method whose model is nearest in size."""
    wanted = "full" if method == "full" else "lora"

    def distance(row: Row) -> float:
        return abs(math.log(guide.sizes[row.size].parameters / parameters))

    return min((row for row in guide.rows if row.method == wanted), key=distance)
