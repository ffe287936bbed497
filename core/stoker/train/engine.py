"""What an engine is: the one that owns sharding, backward and the optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from stoker.data.batches import Batch
    from stoker.train.loss import Loss
    from stoker.train.precision import Regime
    from stoker.train.weights import WeightSource


@dataclass(frozen=True)
class Piece:
    """A row-major range of elements of one whole tensor, as a checkpoint stores it.

    FSDP shards, ZeRO's flat partitions (cut mid-row) and replicated tensors all fit, so resharding
    is interval arithmetic.
    """

    name: str
    kind: str
    """`weight`, `buffer`, or what the optimizer calls a tensor of its state, such as `exp_avg`."""
    shape: tuple[int, ...]
    """Shape of the whole tensor."""
    start: int
    stop: int
    flat: Tensor
    """1-D, `stop - start` elements, on any device."""


class Engine(Protocol):
    """How a model is placed, differentiated and updated. One instance per rank and run.

    Called in this order: `building`, `shard`, `attach`, `load`, and `load_state` when resuming; then for
    each step `micro_batch` around `forward` and `backward`, `finish_gradients`, `clip_gradients`,
    `step`.
    """

    device: torch.device
    rank: int
    world_size: int
    regime: Regime
    optimizer: torch.optim.Optimizer
    """The one that `step` uses; known after `attach`."""
    can_rehearse: bool
    """Whether a forward and backward within `micro_batch(last=False)` waits for no other rank, and
    leaves nothing but gradients in the optimizer's parameters: they can be tried out and forgotten."""
    calls_communicate: bool
    """Whether ranks exchange weights whenever a module is called, so that all have to call each equally
    often."""
    streams_state: bool
    """Whether `tensors` brings the state from elsewhere than memory, piece by piece: it is then written
    while training waits, and not copied first."""

    def building(self) -> AbstractContextManager[None]:
        """Active while the model is constructed: parameters take no memory yet."""
        ...

    def shard(self, model: nn.Module) -> None:
        """Place this rank's part of the parameters, without values, in the regime's dtypes."""
        ...

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimizer, or put one of the same kind in its place that fits the engine better."""
        ...

    def load(self, source: WeightSource) -> None:
        """Fill parameters, buffers and, where the source has it, optimizer state.

        The one way in for pretrained, random, adapter and restored values.
        """
        ...

    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Around one forward and backward. Gradients are reduced across ranks when `last`."""
        ...

    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss summed over the batch's supervised tokens, their number), both scalars on the device."""
        ...

    def backward(self, loss_sum: Tensor, scale: float) -> None:
        """Add the gradient of `loss_sum * scale`, averaged over ranks, to the accumulated one."""
        ...

    def finish_gradients(self) -> None:
        """Make gradients complete and unscaled: what `on_gradients` sees."""
        ...

    def gradients(self) -> Iterator[tuple[str, Tensor | None]]:
        """This rank's part of the complete gradient of every trainable parameter, by name.

        After `finish_gradients`. A part may be empty or flat; None where a parameter took no part in
        the loss. All ranks give the same names in the same order.
        """
        ...

    def clip_gradients(self, max_norm: float | None) -> Tensor:
        """Clip the global norm to `max_norm`; returns the norm before clipping, on the device."""
        ...

    def step(self, learning_rate: float) -> None:
        """Update the parameters and drop the gradients; a no-op once gradients were non-finite."""
        ...

    def failed(self) -> Tensor:
        """Not 0 once gradients were non-finite for good; a scalar on the device."""
        ...

    def skipped(self) -> Tensor:
        """Number of optimizer steps that were no-ops; a scalar on the device."""
        ...

    def waited(self) -> list[float] | None:
        """Seconds from this rank's own gradients to everybody's, of each step since the last call.

        None where that is not known. May wait for the device.
        """
        ...

    def save_state(self) -> dict[str, float]:
        """What a checkpoint holds of the engine besides tensors, the same on all ranks: loss scaling."""
        ...

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restore what `save_state` of an engine returned, perhaps of another kind of engine."""
        ...

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that this rank keeps between micro-batches, with its component.

        Components: `weights`, `gradients`, `master_weights` (beside weights of a narrower dtype),
        `optimizer`, `buffers` (of communication and offloading). Plain local tensors, wherever they are.
        """
        ...

    def tensors(self) -> Iterator[Piece]:
        """This rank's part of what a checkpoint holds; all ranks together give each element once."""
        ...
