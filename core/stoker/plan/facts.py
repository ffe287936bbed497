"""The vocabulary in which plugins say how they change memory and time.

A plugin answers `collect_estimates(situation)` with a mapping of names of `Facts` to values; the core
puts them together and does the arithmetic. Two plugins that set one name differently are an error.
Whatever a plugin takes beyond this vocabulary it gives as bytes under `buffers.NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from stoker.errors import PluginError

Place = Literal["device", "host", "nvme"]


@dataclass(frozen=True)
class Adapter:
    """Low-rank updates B @ A beside frozen linear layers (LoRA)."""

    rank: int
    targets: tuple[str, ...] = ()
    """Name endings of the layers that are adapted; empty: every linear layer but the head."""
    dropout: float = 0.0
    magnitudes: bool = False
    """DoRA: one number more for each output of an adapted layer."""
    trained_whole: tuple[str, ...] = ()
    """Name endings of modules that are trained as a copy of their own."""


@dataclass(frozen=True)
class Quantized:
    """Frozen linear layers, without the head, kept in few bits and unpacked for each product."""

    bytes_per_weight: float
    """With the scales."""
    block: int
    """Weights that share a scale; layers whose number of inputs it does not divide stay as they are."""
    skipped: tuple[str, ...] = ()
    """Name endings of layers that stay in the compute dtype."""
    bytes_per_layer: float = 0.0
    """Tables of levels."""
    keeps_inputs: bool = False
    """For backward, though a frozen layer needs none: bitsandbytes did so once, 0.50 does not."""


@dataclass(frozen=True)
class Sharding:
    """Who holds what of a trained model, and when it is brought together: the engine's facts.

    Sizes are in bytes per trainable parameter before division; None stands for the regime's own.
    """

    name: str = "default"
    weights_over: int = 1
    """Ranks that share one copy of the weights between two steps."""
    by_rows: bool = False
    """Each tensor is cut along its first dimension; else they are laid end to end and cut evenly."""
    gradients_over: int = 1
    states_over: int = 1
    """The same of master weights and optimizer states."""
    weight_bytes: float | None = None
    gradient_bytes: float | None = None
    master_bytes: float = 0.0
    """A copy of the weights that the optimizer updates, beside those that compute."""
    state_bytes: float | None = None
    """Of each moment, where the engine does not keep the regime's dtype."""
    casts: bool = True
    """Autocast makes compute-dtype copies of trained weights that live from forward to backward,
    where the regime's master dtype is another than the compute dtype."""
    whole_below: int = 0
    """Tensors with fewer elements are whole on every rank, beside their part."""
    gathers: Literal["never", "until_backward", "twice"] = "never"
    """Weights of a part are gathered for its forward and kept, or freed and gathered again."""
    gathered_parts: int = 2
    """Parts whose whole weights exist at a time: the one that computes and those fetched ahead."""
    fetched_elements: float = 0.0
    """Elements that are fetched ahead, where it is not by parts."""
    reuse_elements: float | None = None
    """A part's weights stay where fewer elements than these are used until it is their turn again."""
    gradients_live: Literal["as_they_come", "from_backward", "always"] = "as_they_come"
    """Memory of kept gradients is taken part by part, all at once in the first backward, or for good."""
    buckets: int = 0
    """Buffers that gradients are collected in during backward, in the dtype they come in ..."""
    bucket_elements: float = 0.0
    """... and the size of each. What is in one is copied for the reduction, and once more in float32."""
    reduces_each_micro_batch: bool = False
    """Gradients are exchanged after every backward, not only after a step's last one."""
    optimizer_on: Place = "device"
    """Where master weights and states live and are updated."""
    weights_on: Place = "device"
    gradients_on: Place = "device"
    last_copy_elements: float = 0.0
    """Elements whose gradients are copied together when backward is over, to reduce them at once."""
    norm_bytes: float = 0.0
    """Per element of the largest trained tensor, while the gradient norm is taken."""
    transfer_bytes: float = 0.0
    """The same, for good: on the device, and as much on the host, where gradients change places."""
    update_copy_bytes: float = 0.0
    """Per element of what is updated at a time ..."""
    update_copy_elements: float = float("inf")
    """... of which there are so many."""
    replicas: int = 1
    """Groups of ranks that hold the same shards (HYBRID_SHARD)."""


@dataclass(frozen=True)
class Optimizer:
    """Bytes that an optimizer keeps and takes, per trainable parameter."""

    name: str = "adamw"
    moments: float = 2.0
    """States as large as the parameter; 0 for SGD without momentum."""
    moment_bytes: float | None = None
    """Of each; None: the regime's state dtype. 8-bit states: 1 with `scale_block`."""
    scale_block: int = 0
    """Elements that share a float32 scale; 0 where states have none."""
    smallest_quantized: int = 0
    """Parameters with fewer elements keep float32 states."""
    factored: bool = False
    """Adafactor: the second moment as row and column sums."""
    step_bytes: float = 0.0
    """Temporaries of the update, in bytes per element of what is updated at a time."""
    updates_at_once: Literal["parameter", "all"] = "parameter"
    paged: bool = False
    in_backward: bool = False
    """A parameter is updated when its gradient is there, which is let go then."""


@dataclass(frozen=True)
class Loss:
    """What a loss other than the core's takes, in bytes per logit."""

    kept_bytes: float
    """Of all supervised tokens, from forward until the gradients of logits have taken their place."""
    working_bytes: float
    """More, of the tokens that are worked on at a time, in forward or backward."""
    working_tokens: int = 0
    """How many those are; 0: all."""


@dataclass(frozen=True)
class Checkpointing:
    """What is kept of transformer blocks between forward and backward."""

    mode: Literal["none", "full", "selective", "offload"] = "none"
    every: int = 1
    inputs_on_host: bool = False
    products_every: int = 1
    """`selective`: of matrix products in the order of forward, the first of so many is kept."""


@dataclass(frozen=True)
class Facts:
    """Everything that plugins may say about a plan. The defaults are those of the bare core."""

    sharding: Sharding = Sharding()
    optimizer: Optimizer = Optimizer()
    adapter: Adapter | None = None
    quantized: Quantized | None = None
    checkpointing: Checkpointing = Checkpointing()
    loss: Loss | None = None
    """None: the core's, `stoker.train.loss`."""
    attention: str = "sdpa"
    """`sdpa`, `eager`, `flash_attention_2` or `flex`."""
    repeats_keys: bool = False
    """Keys and values are copied for every query head that shares them."""
    packed: bool = False
    packed_tokens: int | None = None
    """Tokens of a packed micro-batch at most; None: as many as the largest has without packing."""
    compiled: Literal["no", "block", "model"] = "no"
    frozen: tuple[str, ...] = ()
    """Shell patterns of parameter names that are not trained ..."""
    trained: tuple[str, ...] = ()
    """... and those that are trained all the same."""
    host_buffers: float = 0.0
    """Bytes of host memory on each rank beyond what follows from the rest."""
    buffers: Mapping[str, float] = field(default_factory=dict)
    """Further bytes on the device, by name."""


def facts_from(said: Mapping[str, Any]) -> Facts:
    """`Facts` from what the plugins said together. Raises `PluginError` for a name that is unknown."""
    known = {entry.name for entry in fields(Facts)}
    values = {name: value for name, value in said.items() if not name.startswith("buffers.")}
    if unknown := sorted(set(values) - known):
        raise PluginError(
            f"a plugin's collect_estimates gives {unknown[0]!r}, which no plan knows.",
            hint=f"There are {', '.join(sorted(known))}, and `buffers.NAME` for other bytes.",
        )
    buffers = {name.removeprefix("buffers."): v for name, v in said.items() if name not in values}
    return Facts(**{"buffers": buffers, **values})
