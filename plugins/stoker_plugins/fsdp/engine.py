"""The FSDP engine: every parameter is a DTensor of which a rank holds some rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from stoker.errors import PluginError
from stoker.train.distributed import place_from_environment
from stoker.train.torch_engine import TorchEngine
from stoker.train.weights import PackedParameter, replace_parameters
from stoker_plugins.fsdp.layout import Layout
from stoker_plugins.fsdp.parts import find_parts
from stoker_plugins.fsdp.sharding import allocate, apply_fsdp, unfinished_gradients

if TYPE_CHECKING:
    from stoker.data.batches import Batch
    from stoker.run.context import Run
    from stoker.train.loss import Loss
    from stoker_plugins.fsdp import FsdpConfig


@lru_cache(maxsize=4)
def _mesh(
    world: dist.ProcessGroup | None, kind: str, shape: tuple[int, ...], names: tuple[str, ...]
) -> DeviceMesh:
    """Made once for each process group: those of two dimensions start threads that never end."""
    return init_device_mesh(kind, shape, mesh_dim_names=names)


class FsdpEngine(TorchEngine):
    """Shards with `torch.distributed.fsdp.fully_shard`, on CPU and CUDA alike.

    Between two calls of the engine the model's parameters are this rank's parts: what is gathered for
    a forward is freed by the end of its backward, or of the forward where there is none.
    """

    needs_group = True

    def __init__(self, run: Run, config: FsdpConfig) -> None:
        self.config = config
        ranks_per_node = place_from_environment().local_world_size
        self.layout = Layout.of(config, run.world_size, ranks_per_node)
        super().__init__(run, updates_on_host=config.cpu_offload)
        self.run = run
        for note in self.layout.notes(config.strategy):
            self._note(note)

    def _note(self, message: str) -> None:
        if self.run.is_main:
            self.run.events.write("note", message=message)

    def find_device(self, run: Run) -> torch.device:
        """This rank's CUDA device, else the CPU."""
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    # -- where tensors live ---------------------------------------------------------------------

    def local(self, tensor: Tensor) -> Tensor:
        """This rank's rows."""
        return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor

    def bounds(self, tensor: Tensor) -> tuple[int, int]:
        """Rows are dealt in equal chunks; the last ranks may have fewer, or none."""
        if not _is_cut(tensor):
            return 0, tensor.numel()
        num_rows = tensor.shape[0]
        row_length = tensor.numel() // max(1, num_rows)
        chunk = -(-num_rows // self.layout.num_shards)
        first = min(num_rows, self.rank % self.layout.num_shards * chunk)
        last = min(num_rows, first + chunk)
        return first * row_length, last * row_length

    def saves(self, tensor: Tensor) -> bool:
        """The first group of ranks holds one whole copy of what is cut."""
        return self.rank < self.layout.num_shards if _is_cut(tensor) else self.rank == 0

    def global_norm(self, gradients: list[Tensor]) -> Tensor:
        """Every group adds up the same, so that one sum over all ranks serves all."""
        total = torch.zeros((), dtype=torch.float64, device=self.update_device)
        if parts := [gradient for gradient in gradients if gradient.numel()]:
            norms = torch._foreach_norm(parts, dtype=torch.float32)
            total += torch.stack(norms).double().square().sum()
        dist.all_reduce(total)
        return (total / self.layout.num_replicas).sqrt().float()

    # -- building -------------------------------------------------------------------------------

    def shard(self, model: nn.Module) -> None:
        """Cut every parameter and allocate this rank's rows."""
        parts = find_parts(model, self.config.block_class)
        if parts.num_entangled:
            self._note(
                f"fsdp: {parts.num_entangled} blocks share parameters with each other, so these are "
                "gathered for the whole forward and backward."
            )
        replace_parameters(model, self._in_regime)
        apply_fsdp(model, parts, self._make_mesh(), self.regime, self.config)
        pin = self.config.cpu_offload and self.config.pin_memory and self.device.type == "cuda"
        allocate(model, self.update_device, pin=pin)
        self.model = model

    def _make_mesh(self) -> DeviceMesh:
        """One dimension of shards, or replicas of them; `NO_SHARD` is replicas of one shard each."""
        kind, layout = self.device.type, self.layout
        if self.config.strategy in ("FULL_SHARD", "SHARD_GRAD_OP"):
            return _mesh(dist.group.WORLD, kind, (layout.num_shards,), ("shard",))
        shape = (layout.num_replicas, layout.num_shards)
        return _mesh(dist.group.WORLD, kind, shape, ("replicate", "shard"))

    def _in_regime(self, parameter: nn.Parameter) -> nn.Parameter:
        """Raises `PluginError` for a quantized weight; `check` refuses those that it knows of."""
        if isinstance(parameter, PackedParameter):
            raise PluginError(
                "plugins.fsdp: a weight that is packed as it is loaded cannot be sharded.",
                hint="Train quantized models with the default engine.",
            )
        data = torch.empty(parameter.shape, dtype=self.dtype_of(parameter), device="meta")
        return nn.Parameter(data, requires_grad=parameter.requires_grad)

    # -- a step ---------------------------------------------------------------------------------

    @property
    def root(self) -> FSDPModule:
        """The model as `fully_shard` knows it."""
        assert isinstance(self.model, FSDPModule)
        return self.model

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Sum over the group after every backward, unless told otherwise; over groups after the last."""
        always = self.config.reduce_gradients == "every_micro_batch"
        self.root.set_requires_gradient_sync(last or always)
        self.root.set_requires_all_reduce(last)
        yield

    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward in the compute dtype, which the weights are gathered in."""
        result = loss(self.model, batch)
        if not torch.is_grad_enabled():
            self._free_gathered()
        return result

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """Also gradients that are not reduced, or not over all ranks, because more are to come."""
        yield from super().held()
        for gradient in unfinished_gradients(self.model):
            yield "gradients", gradient

    def _free_gathered(self) -> None:
        """What a backward would have done."""
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def _is_cut(tensor: Tensor) -> bool:
    """Whether ranks hold different rows of a tensor."""
    return isinstance(tensor, DTensor) and tensor.placements[-1].is_shard(0)
