"""The default engine: one device, or one replica on each rank with DDP, through Accelerate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from stoker.errors import StokerError
from stoker.train.arrival import Arrival
from stoker.train.coverage import refuse_missing
from stoker.train.torch_engine import TorchEngine
from stoker.train.weights import PackedParameter, move_buffers, replace_parameters

if TYPE_CHECKING:
    from stoker.data.batches import Batch
    from stoker.run.context import Run
    from stoker.train.loss import Loss
    from stoker.train.weights import WeightSource


class DefaultEngine(TorchEngine):
    """Replicates the model; gradients are averaged by DDP during the last micro-batch's backward."""

    arrival: Arrival | None = None
    can_rehearse = True

    def find_device(self, run: Run) -> torch.device:
        """Accelerate's."""
        # Buckets hold the gradients themselves, and buffers are equal by construction.
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        self.accelerator = Accelerator(
            cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
            mixed_precision="no",
            kwargs_handlers=[ddp],
        )
        device: torch.device = self.accelerator.device
        return device

    def shard(self, model: nn.Module) -> None:
        """Allocate every parameter: trainable ones in the master dtype, frozen ones in compute's."""
        self.model = model
        replace_parameters(model, self._allocate)
        move_buffers(model, self.device)

    def _allocate(self, parameter: nn.Parameter) -> nn.Parameter:
        if isinstance(parameter, PackedParameter):
            if parameter.requires_grad:
                raise StokerError(
                    "a quantized weight cannot be trained, only adapters on it.",
                    hint="Take its module out of modules_to_save, or leave it unquantized.",
                )
            return parameter
        data = torch.empty(parameter.shape, dtype=self.dtype_of(parameter), device=self.device)
        return nn.Parameter(data, requires_grad=parameter.requires_grad)

    @torch.no_grad()
    def load(self, source: WeightSource) -> None:
        """Whole tensors. Wraps the model in DDP then: packed parameters exist now."""
        super().load(source)
        with warnings.catch_warnings():
            # Accelerate 1.15 knows only the old name of torch's option.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            self.module: nn.Module = self.accelerator.prepare_model(self.model, device_placement=False)
        self._is_settled = self.module is self.model
        if self.world_size > 1:
            self.arrival = Arrival(self.trainable.values(), self.device)

    def finish_gradients(self) -> None:
        """Complete with the last backward."""
        if self.arrival is not None:
            self.arrival.complete()
        super().finish_gradients()

    def waited(self) -> list[float] | None:
        """In the last backward of each step; nothing alone."""
        return None if self.arrival is None else self.arrival.read()

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Communicate during the last backward only."""
        with nullcontext() if last else self.accelerator.no_sync(self.module):
            yield

    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward in the compute dtype."""
        if torch.is_grad_enabled() and not self._is_settled:
            self._settle_buckets(loss, batch)
        return self._forward(loss, batch)

    def _settle_buckets(self, loss: Loss, batch: Batch) -> None:
        """One backward for nothing, before the first that counts.

        After its first backward DDP lays its buckets out anew, and the place in a bucket decides in
        which order three or more ranks add up. A run that goes on begins with a new DDP: without this,
        its first step would be rounded otherwise than in the run that was not interrupted.
        """
        self._is_settled = True
        module: Any = self.module
        communicates, module.require_backward_grad_sync = module.require_backward_grad_sync, True
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            loss_sum, _ = self._forward(loss, batch)
            (loss_sum * 0.0).backward()
        module.require_backward_grad_sync = communicates
        # DDP would say it in the next forward, with the numbers of the parameters.
        refuse_missing({name: parameter.grad for name, parameter in self.trainable.items()})
        self.optimizer.zero_grad(set_to_none=True)

    def _forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        regime = self.regime
        with torch.autocast(self.device.type, regime.compute, enabled=regime.autocasts):
            return loss(self.module, batch)

    def global_norm(self, gradients: list[Tensor]) -> Tensor:
        """Replicas have equal gradients: no communication. In float32, whatever gradients are in."""
        if not gradients:
            return torch.zeros((), device=self.device)
        norms = torch._foreach_norm(gradients, dtype=torch.float32)
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return norm
