"""The default engine: one device, or one replica on each rank with DDP, through Accelerate."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, init_empty_weights
from torch import Tensor, nn

from stoker.errors import StokerError, UsageError
from stoker.train.distributed import connect
from stoker.train.engine import Piece
from stoker.train.finite import FiniteGuard
from stoker.train.precision import regime_for
from stoker.train.weights import PackedParameter, fill, persistent_buffers, replace_parameters

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


class DefaultEngine:
    """Replicates the model; gradients are averaged by DDP during the last micro-batch's backward."""

    def __init__(self, run: Run) -> None:
        refuse_launcher_settings(os.environ)
        connect(run)
        # Buckets hold the gradients themselves, and buffers are equal by construction.
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        self.accelerator = Accelerator(
            cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
            mixed_precision="no",
            kwargs_handlers=[ddp],
        )
        self.device = self.accelerator.device
        self.rank = run.rank
        self.world_size = run.world_size
        self.regime = regime_for(run.recipe.train.precision, self.device)
        self.guard = FiniteGuard(self.device, scales_loss=self.regime.scales_loss)

    def building(self) -> AbstractContextManager[None]:
        """Parameters on the meta device; buffers real, because no file holds most of them."""
        context: AbstractContextManager[None] = init_empty_weights(include_buffers=False)
        return context

    def shard(self, model: nn.Module) -> None:
        """Allocate every parameter: trainable ones in the master dtype, frozen ones in compute's."""
        self.model = model
        replace_parameters(model, self._allocate)
        for module in model.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = buffer.to(self.device)

    def _allocate(self, parameter: nn.Parameter) -> nn.Parameter:
        if isinstance(parameter, PackedParameter):
            if parameter.requires_grad:
                raise StokerError(
                    "a quantized weight cannot be trained, only adapters on it.",
                    hint="Take its module out of modules_to_save, or leave it unquantized.",
                )
            return parameter
        dtype = self.regime.master if parameter.requires_grad else self.regime.compute
        if not parameter.dtype.is_floating_point:
            dtype = parameter.dtype
        data = torch.empty(parameter.shape, dtype=dtype, device=self.device)
        return nn.Parameter(data, requires_grad=parameter.requires_grad)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimizer."""
        self.optimizer = optimizer
        self.trainable = [p for group in optimizer.param_groups for p in group["params"]]
        self._skips_on_device = getattr(optimizer, "_step_supports_amp_scaling", False)
        if self._skips_on_device:
            optimizer.found_inf = self.guard.found_inf  # type: ignore[attr-defined]

    @torch.no_grad()
    def load(self, source: WeightSource) -> None:
        """Read every tensor whole, one at a time, straight to its place.

        Wraps the model in DDP then, where there is more than one rank: packed parameters exist now.
        """
        fill(self.model, source, self.device)
        for name, parameter in self.model.named_parameters():
            self._load_states(source, name, parameter)
        with warnings.catch_warnings():
            # Accelerate 1.15 knows only the old name of torch's option.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            self.module: nn.Module = self.accelerator.prepare_model(self.model)

    def _load_states(self, source: WeightSource, name: str, parameter: nn.Parameter) -> None:
        kinds = source.optimizer_states(name) if parameter.requires_grad else ()
        if not kinds:
            return
        states = {
            kind: source.read(name, kind).view(parameter.shape).to(self.device, copy=True)
            for kind in kinds
        }
        step = torch.tensor(float(source.optimizer_steps), device=self.device)
        self.optimizer.state[parameter] = {"step": step, **states}

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Communicate during the last backward only."""
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            yield

    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward in the compute dtype."""
        regime = self.regime
        with torch.autocast(self.device.type, regime.compute, enabled=regime.autocasts):
            return loss(self.module, batch)

    def backward(self, loss_sum: Tensor, scale: float) -> None:
        """DDP divides by the number of ranks, so `scale` has been multiplied by it."""
        loss = loss_sum * scale
        (loss * self.guard.scale if self.regime.scales_loss else loss).backward()

    @torch.no_grad()
    def finish_gradients(self) -> None:
        """Divide the loss scale out; DDP has completed the sums."""
        if self.regime.scales_loss:
            gradients = [p.grad for p in self.trainable if p.grad is not None]
            torch._foreach_mul_(gradients, 1.0 / self.guard.scale)

    def gradients(self) -> Iterator[tuple[str, Tensor | None]]:
        """Whole gradients: replicas are equal."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                yield name, parameter.grad

    def clip_gradients(self, max_norm: float | None) -> Tensor:
        """2-norm over all trainable parameters; no synchronisation."""
        gradients = [p.grad for p in self.trainable if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=True)
        if max_norm is not None:
            nn.utils.clip_grads_with_norm_(self.trainable, max_norm, norm, foreach=True)
        self.guard.observe(norm)
        return norm

    def step(self, learning_rate: float) -> None:
        """Update, unless the guard says no."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        # An optimizer that cannot read the flag on the device costs a synchronisation here.
        if self._skips_on_device or not bool(self.guard.found_inf):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def failed(self) -> Tensor:
        """The guard's verdict."""
        return self.guard.failed

    def skipped(self) -> Tensor:
        """The guard's count."""
        return self.guard.num_skipped

    def save_state(self) -> dict[str, float]:
        """The guard's."""
        return self.guard.save_state()

    def load_state(self, state: Mapping[str, float]) -> None:
        """The guard's."""
        self.guard.load_state(state)

    def tensors(self) -> Iterator[Piece]:
        """Whole tensors, from rank 0 alone since all replicas are equal."""
        if self.rank != 0:
            return
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            yield whole(name, "weight", parameter)
            for kind, value in self._states_of(name, parameter):
                yield whole(name, kind, value)
        for name, buffer in persistent_buffers(self.model):
            yield whole(name, "buffer", buffer)

    def _states_of(self, name: str, parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
        """The optimizer's tensors of a parameter's shape; its step count is in the manifest.

        Raises `StokerError` for state that a checkpoint could not restore.
        """
        for kind, value in self.optimizer.state.get(parameter, {}).items():
            if kind == "step" or value is None:
                continue
            if not isinstance(value, Tensor) or value.shape != parameter.shape:
                raise StokerError(
                    f"{type(self.optimizer).__name__} keeps {kind!r} for {name!r}, which is no tensor "
                    "of the parameter's shape and cannot be saved.",
                    hint="Use another optimizer.",
                )
            yield kind, value


def whole(name: str, kind: str, tensor: Tensor) -> Piece:
    """A piece that is the whole tensor."""
    flat = tensor.detach().reshape(-1)
    return Piece(name, kind, tuple(tensor.shape), 0, flat.numel(), flat)
