"""What engines have in common that keep torch's parameters and a torch optimizer: default and fsdp."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from stoker.errors import UsageError
from stoker.train.distributed import connect
from stoker.train.engine import Piece
from stoker.train.finite import FiniteGuard
from stoker.train.guarded import GuardedEngine
from stoker.train.optimizer_states import make_states, states_of, states_to_restore
from stoker.train.precision import regime_for
from stoker.train.weights import fill, persistent_buffers

if TYPE_CHECKING:
    from stoker.data.batches import Batch
    from stoker.run.context import Run
    from stoker.train.loss import Loss
    from stoker.train.weights import WeightSource


def refuse_launcher_settings(environment: Mapping[str, str]) -> None:
    """Raise `UsageError` where `accelerate launch` was told to shard: the recipe alone says that."""
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"):
        if environment.get(name, "").lower() in ("1", "true"):
            raise UsageError(
                f"accelerate launch has set {name}, but the recipe says how a run is sharded.",
                hint="Launch without that option, or clear it in accelerate's own configuration.",
            )


class TorchEngine(GuardedEngine, ABC):
    """An `Engine` over `model`'s own parameters and a torch optimizer.

    A subclass says where they live: it implements the abstract methods, sets `model` in `shard`, and
    overrides `local` and `bounds` where a rank holds a part of each tensor.
    """

    model: nn.Module
    """Its parameters, between two calls of the engine, are those that the optimizer updates."""
    optimizer: torch.optim.Optimizer
    needs_group: ClassVar[bool] = False
    """Whether a rank alone needs a process group too."""

    def __init__(self, run: Run, *, updates_on_host: bool = False) -> None:
        """`updates_on_host`: gradients and optimizer are in host memory, whatever the device."""
        refuse_launcher_settings(os.environ)
        connect(run, even_alone=self.needs_group)
        self.device = self.find_device(run)
        self.rank = run.rank
        self.world_size = run.world_size
        self.regime = regime_for(run.recipe.train.precision, self.device)
        # Beside what it decides about, so that neither waits for the other's device.
        self.update_device = torch.device("cpu") if updates_on_host else self.device
        self.guard = FiniteGuard(self.update_device, scales_loss=self.regime.scales_loss)

    # -- where tensors live ---------------------------------------------------------------------

    @abstractmethod
    def find_device(self, run: Run) -> torch.device:
        """The device that this rank computes on."""

    def local(self, tensor: Tensor) -> Tensor:
        """This rank's part of a parameter, a gradient or an optimizer state, as a plain tensor."""
        return tensor

    def bounds(self, tensor: Tensor) -> tuple[int, int]:
        """The row-major range of elements of the whole tensor that `local(tensor)` holds."""
        return 0, tensor.numel()

    def saves(self, tensor: Tensor) -> bool:
        """Whether a checkpoint takes this rank's part of a tensor: no other rank gives the same."""
        return self.rank == 0

    @abstractmethod
    def global_norm(self, gradients: list[Tensor]) -> Tensor:
        """2-norm over the gradients of all ranks, given this rank's parts; equal on all of them."""

    # -- building -------------------------------------------------------------------------------

    def building(self) -> AbstractContextManager[None]:
        """Parameters on the meta device; buffers real, because no file holds most of them."""
        context: AbstractContextManager[None] = init_empty_weights(include_buffers=False)
        return context

    @abstractmethod
    def shard(self, model: nn.Module) -> None:
        """Place this rank's part of the parameters, without values."""

    def dtype_of(self, parameter: nn.Parameter) -> torch.dtype:
        """Master dtype for what is trained, compute dtype for what is frozen."""
        if not parameter.dtype.is_floating_point:
            return parameter.dtype
        return self.regime.master if parameter.requires_grad else self.regime.compute

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimizer."""
        self.optimizer = optimizer
        self.trainable = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self._skips_on_device = getattr(optimizer, "_step_supports_amp_scaling", False)
        if self._skips_on_device:
            optimizer.found_inf = self.guard.found_inf  # type: ignore[attr-defined]

    @torch.no_grad()
    def load(self, source: WeightSource) -> None:
        """Read this rank's part of every tensor, one at a time, straight to its place."""
        if any(source.optimizer_states(name) for name in self.trainable):
            make_states(self.optimizer)
        fill(self.model, source, self.device, self._load_parameter)

    def _load_parameter(self, source: WeightSource, name: str, parameter: nn.Parameter) -> None:
        self._read_into(parameter, source, name, "weight")
        if parameter.requires_grad:
            for kind, state in states_to_restore(self.optimizer, source, name, parameter):
                self._read_into(state, source, name, kind)

    def _read_into(self, tensor: Tensor, source: WeightSource, name: str, kind: str) -> None:
        """Fill this rank's part of a tensor."""
        part = self.local(tensor)
        part.copy_(source.read(name, kind, *self.bounds(tensor)).view(part.shape))

    # -- a step ---------------------------------------------------------------------------------

    @abstractmethod
    def micro_batch(self, *, last: bool) -> AbstractContextManager[None]:
        """Around one forward and backward."""

    @abstractmethod
    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss summed over the batch's supervised tokens, their number)."""

    def backward(self, loss_sum: Tensor, scale: float) -> None:
        """The reduction divides by the number of ranks, so `scale` has been multiplied by it."""
        loss = loss_sum * scale
        (loss * self.guard.scale if self.regime.scales_loss else loss).backward()

    @torch.no_grad()
    def finish_gradients(self) -> None:
        """Divide the loss scale out; the last backward has completed the sums."""
        if self.regime.scales_loss:
            torch._foreach_mul_(self._local_gradients(), 1.0 / self.guard.scale)

    def gradients(self) -> Iterator[tuple[str, Tensor | None]]:
        """This rank's part of every gradient."""
        for name, parameter in self.trainable.items():
            yield name, None if parameter.grad is None else self.local(parameter.grad)

    def _local_gradients(self) -> list[Tensor]:
        """In the order of the optimizer's groups."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        return [self.local(p.grad) for p in parameters if p.grad is not None]

    @torch.no_grad()
    def clip_gradients(self, max_norm: float | None) -> Tensor:
        """2-norm over all trainable parameters; the host does not wait for it."""
        gradients = self._local_gradients()
        norm = self.global_norm(gradients)
        if max_norm is not None:
            # As torch.nn.utils.clip_grads_with_norm_ has it, for parts of gradients too.
            factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
            torch._foreach_mul_(gradients, factor)
        self.guard.observe(norm)
        return norm.to(self.device)

    def step(self, learning_rate: float) -> None:
        """Update, unless the guard says no."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        # An optimizer that cannot read the flag on the device costs a synchronisation here.
        if self._skips_on_device or not bool(self.guard.found_inf):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    # -- checkpoints ----------------------------------------------------------------------------

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """Parts of weights, gradients and optimizer states."""
        for parameter in self.model.parameters():
            yield "weights", self.local(parameter)
            if parameter.grad is not None:
                yield "gradients", self.local(parameter.grad)
        for states in self.optimizer.state.values():
            for value in states.values():
                if isinstance(value, Tensor):
                    yield "optimizer", self.local(value)

    def tensors(self) -> Iterator[Piece]:
        """What is trained, with its optimizer state, and persistent buffers."""
        for name, parameter in self.trainable.items():
            yield from self._pieces(name, "weight", parameter)
            for kind, value in states_of(self.optimizer, name, parameter):
                yield from self._pieces(name, kind, value)
        for name, buffer in persistent_buffers(self.model):
            yield from self._pieces(name, "buffer", buffer)

    def _pieces(self, name: str, kind: str, tensor: Tensor) -> Iterator[Piece]:
        """One piece, or none where this rank has no element that others have not."""
        start, stop = self.bounds(tensor)
        if start < stop and self.saves(tensor):
            flat = self.local(tensor.detach()).reshape(-1)
            yield Piece(name, kind, tuple(tensor.shape), start, stop, flat)
