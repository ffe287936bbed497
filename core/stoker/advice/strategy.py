"""How to share training out and what to keep, as a table of rules: the guide's cheat sheet.

A rule gives values of an axis in the order in which they are tried; what does not fit, or what no
installed plugin offers, is left out by `search`. Decided here where the guide leaves it open:

* Its single node ends at 8 GPUs and its several nodes begin at 16; here the number of nodes decides.
* Of ZeRO-2 and SHARD_GRAD_OP, and of ZeRO-3 and FULL_SHARD, that of FSDP is tried first: it needs no
  package beside torch. The guide has no preference; the other one comes next.
* What is trained of an adapter is small: sharding its gradients and states saves next to nothing, so
  its frozen base is replicated where it fits and sharded where it does not.
* The regime is `bf16_mixed`, the guide's recipe (updates in float32). Full fine-tuning that does not
  fit gives up, in this order: master weights, 32-bit moments, float32 moments, both; then it moves
  states to host memory, which the guide calls the last resort.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, str]
"""Axis of `stoker.capabilities` -> value."""


@dataclass(frozen=True)
class Shape:
    """What the rules look at."""

    method: str
    """`full`, `lora` or `qlora`."""
    gpus: int
    nodes: int
    has_bf16: bool = True

    @property
    def is_full(self) -> bool:
        return self.method == "full"


@dataclass(frozen=True)
class Preference:
    """For one part of a strategy: values to try in order, the rule they come from, and why."""

    name: str
    holds: Callable[[Shape], bool]
    tries: tuple[Values, ...]
    because: str


SHARDED_TWO: tuple[Values, ...] = ({"engine": "fsdp-shard_grad_op"}, {"engine": "zero-2"})
SHARDED_THREE: tuple[Values, ...] = ({"engine": "fsdp-full_shard"}, {"engine": "zero-3"})
WHOLE: tuple[Values, ...] = ({"engine": "default"},)

METHODS: Mapping[str, Values] = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
    "qlora": {"method": "lora", "quantization": "nf4"},
}

ENGINES: tuple[Preference, ...] = (
    Preference(
        "one-gpu",
        lambda shape: shape.gpus == 1,
        WHOLE,
        "there is nobody to share anything with",
    ),
    Preference(
        "adapters-replicate",
        lambda shape: not shape.is_full,
        WHOLE + SHARDED_THREE,
        "an adapter's gradients and states are small: every GPU holds the base, as long as it fits",
    ),
    Preference(
        "single-node",
        lambda shape: shape.nodes == 1,
        SHARDED_TWO + SHARDED_THREE,
        "on one node gradients and states are divided first, weights only where that does not fit",
    ),
    Preference(
        "several-nodes",
        lambda shape: True,
        SHARDED_THREE,
        "over several nodes everything is divided",
    ),
)

REGIMES: tuple[Preference, ...] = (
    Preference(
        "no-bf16",
        lambda shape: not shape.has_bf16,
        ({"precision": "fp16_mixed"},),
        "this GPU has no bfloat16; float16 with loss scaling is what it has",
    ),
    Preference(
        "mixed",
        lambda shape: not shape.is_full,
        ({"precision": "bf16_mixed"},),
        "products in bfloat16, the adapter and its moments in float32",
    ),
    Preference(
        "mixed-full",
        lambda shape: True,
        (
            {"precision": "bf16_mixed"},
            {"precision": "bf16_fp32_states"},
            {"precision": "bf16_mixed", "optimizer": "adamw_8bit"},
            {"precision": "bf16"},
            {"precision": "bf16", "optimizer": "adamw_8bit"},
        ),
        "products in bfloat16 and updates in float32, as far as memory allows",
    ),
)

OFFLOADS: tuple[Preference, ...] = (
    Preference("no-offload", lambda shape: not shape.is_full, ({},), "an adapter has little to move"),
    Preference(
        "offload-last",
        lambda shape: True,
        ({}, {"offload": "cpu"}),
        "states in host memory make a step several times as long: only where nothing else fits",
    ),
)

CHECKPOINTING: tuple[Preference, ...] = (
    Preference(
        "recompute",
        lambda shape: shape.is_full,
        ({"checkpointing": "full"},),
        "recomputing blocks takes a third more compute and leaves a tenth of the activations",
    ),
    Preference(
        "recompute-if-needed",
        lambda shape: True,
        ({}, {"checkpointing": "full"}),
        "beside a frozen base activations are what fills memory: recomputed where two rows do not fit",
    ),
)

ATTENTION: tuple[Preference, ...] = (
    Preference(
        "flash",
        lambda shape: True,
        ({"attention": "auto"}, {}),
        "FlashAttention-2 where GPU and model allow it, else torch's kernels: neither keeps scores",
    ),
)


def preference(table: tuple[Preference, ...], shape: Shape) -> Preference:
    """The first of a table that holds; the last of each holds always."""
    return next(each for each in table if each.holds(shape))
