"""The engine over DeepSpeed's: ZeRO stages 1, 2 and 3."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from accelerate import init_empty_weights
from torch import Tensor, nn

from stoker.train.engine import Piece
from stoker.train.finite import FiniteGuard
from stoker.train.guarded import GuardedEngine
from stoker.train.optimizer_states import compare_states, set_step
from stoker.train.precision import regime_for
from stoker.train.torch_engine import refuse_launcher_settings
from stoker.train.weights import move_buffers, persistent_buffers, replace_parameters
from stoker_plugins.zero.extensions import choose_accelerator
from stoker_plugins.zero.fragments import (
    Fragment,
    Partitions,
    fill_frozen_shard,
    partitions_of,
    shard_range,
    sharder,
)
from stoker_plugins.zero.optimizers import (
    catch_up,
    fitting_optimizer,
    make_states,
    tensors_of,
)
from stoker_plugins.zero.process_group import ProcessGroup
from stoker_plugins.zero.settings import deepspeed_settings, prepare_swap_folder

if TYPE_CHECKING:
    from stoker.data.batches import Batch
    from stoker.run.context import Run
    from stoker.train.loss import Loss
    from stoker.train.weights import WeightSource
    from stoker_plugins.zero import ZeroConfig

Members = list[tuple[str, Fragment]]
"""Names of the parameters in a flat partition, with this rank's part of each; none is empty."""


class ZeroEngine(GuardedEngine):
    """Weights in the compute dtype; gradients, master weights and states in float32, in parts.

    DeepSpeed runs forward, backward, reduction and the optimizer. Scaling, clipping and what counts as a
    step are decided here, on this rank's parts, before DeepSpeed's `step` sees them.
    """

    def __init__(self, run: Run, config: ZeroConfig) -> None:
        refuse_launcher_settings(os.environ)
        choose_accelerator()
        # DeepSpeed 0.19 calls collective operations by the names that torch 2.13 would replace.
        warnings.filterwarnings("ignore", message="`torch.distributed.", category=FutureWarning)
        self.run = run
        self.config = config
        self.rank = run.rank
        self.world_size = run.world_size
        self.group = ProcessGroup(run)
        self.device = self.group.device
        self.regime = regime_for(run.recipe.train.precision, self.device)
        self.guard = FiniteGuard(self.device, scales_loss=self.regime.scales_loss)
        self.swap_folder = prepare_swap_folder(run, config)
        self.streams_state = self.swap_folder is not None
        self.calls_communicate = config.stage == 3

    def building(self) -> AbstractContextManager[None]:
        """Parameters on the meta device, for stage 3 too: `shard` makes their parts, one at a time."""
        context: AbstractContextManager[None] = init_empty_weights(include_buffers=False)
        return context

    def shard(self, model: nn.Module) -> None:
        """Allocate whole weights at stages 1 and 2, this rank's part of each at stage 3."""
        self.model = model
        largest = max(p.numel() for p in model.parameters())
        self.settings = deepspeed_settings(
            self.config,
            self.regime,
            micro_batch_size=self.run.micro_batch_size,
            largest_part_elements=-(-largest // self.world_size),
            swap_folder=self.swap_folder,
        )
        if self.config.stage == 3:
            replace_parameters(model, sharder(self.settings, self.regime.compute))
        else:
            replace_parameters(model, self._allocate)
        move_buffers(model, self.device)

    def _allocate(self, parameter: nn.Parameter) -> nn.Parameter:
        data = torch.zeros(parameter.shape, dtype=self.regime.compute, device=self.device)
        return nn.Parameter(data, requires_grad=parameter.requires_grad)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Hand model and optimizer to DeepSpeed, which puts its partitions into the optimizer's groups.

        With offload, torch's AdamW becomes DeepSpeed's for CPUs, which a `note` event says.
        """
        import deepspeed

        self.optimizer, note = fitting_optimizer(optimizer, self.config)
        if note and self.run.is_main:
            self.run.events.write("note", message=note)
        self.deepspeed: Any = deepspeed.initialize(
            model=self.model,
            optimizer=self.optimizer,
            config=self.settings,
            dist_init_required=False,
        )[0]
        self.partitions: Partitions = partitions_of(
            self.deepspeed.optimizer, self.config.stage, self.rank
        )

    @property
    def _trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def _fragments(self) -> list[Members]:
        """By flat partition."""
        groups: list[Members] = [[] for _ in range(self.partitions.num_groups())]
        for name, parameter in self._trainable:
            fragment = self.partitions.fragment(parameter)
            if fragment.length:
                groups[fragment.group].append((name, fragment))
        return groups

    @torch.no_grad()
    def load(self, source: WeightSource) -> None:
        """Read what this rank keeps: its range of what is trained and, at stage 3, of what is frozen."""
        for group, members in enumerate(self._fragments()):
            with self.partitions.opened(group, write=True) as flat:
                if any(source.optimizer_states(name) for name, _ in members):
                    self._load_states(source, flat, group, members)
                flat.zero_()
                _read_into(flat, source, "weight", members)
        catch_up(self.optimizer, source.optimizer_steps, self.partitions.num_groups())
        self._load_frozen(source)
        self.partitions.publish()
        for name, buffer in persistent_buffers(self.model):
            if source.has(name, "buffer"):
                buffer.copy_(source.read(name, "buffer").view(buffer.shape))

    def _load_states(self, source: WeightSource, flat: Tensor, group: int, members: Members) -> None:
        make_states(self.optimizer, flat, self.partitions.parameter_group(group))
        states = tensors_of(self.optimizer, flat)
        for name, _ in members:
            expected = dict.fromkeys(states, self.run.parameter_shapes[name])
            compare_states(self.optimizer, name, source.optimizer_states(name), expected)
        for kind, state in states.items():
            _read_into(state, source, kind, members)
        set_step(self.optimizer.state[flat], source.optimizer_steps)

    def _load_frozen(self, source: WeightSource) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                continue
            if self.config.stage == 3:
                values = source.read(name, "weight", *shard_range(parameter, self.rank))
                fill_frozen_shard(parameter, values)
            else:
                parameter.copy_(source.read(name, "weight").view(parameter.shape))

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Stages 2 and 3 reduce after every backward; stage 1 only after the last."""
        if self.config.stage < 3:
            self.deepspeed.set_gradient_accumulation_boundary(last)
        yield

    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward in the compute dtype, which the weights have."""
        return loss(self.deepspeed, batch)

    def backward(self, loss_sum: Tensor, scale: float) -> None:
        """DeepSpeed divides by the number of ranks, so `scale` has been multiplied by it."""
        loss = loss_sum * scale
        self.deepspeed.backward(
            loss * self.guard.scale if self.regime.scales_loss else loss, scale_wrt_gas=False
        )

    @torch.no_grad()
    def finish_gradients(self) -> None:
        """Divide the loss scale out; DeepSpeed has completed the sums."""
        self.partitions.wait_for_gradients()
        if self.regime.scales_loss:
            torch._foreach_mul_(self._gradient_parts(), 1.0 / self.guard.scale)

    def gradients(self) -> Iterator[tuple[str, Tensor | None]]:
        """Flat parts, empty where another rank has it; zeros for what took no part in the loss."""
        for name, parameter in self._trainable:
            yield name, self.partitions.gradient(parameter)

    def _gradient_parts(self) -> list[Tensor]:
        return [part for _, part in self.gradients() if part is not None and part.numel()]

    @torch.no_grad()
    def clip_gradients(self, max_norm: float | None) -> Tensor:
        """2-norm over the parts of all ranks."""
        parts = self._gradient_parts()
        norms = torch._foreach_norm(parts, dtype=torch.float32) if parts else []
        squares = [norm.to(self.device).square() for norm in norms]
        total = torch.stack(squares).sum() if squares else torch.zeros((), device=self.device)
        dist.all_reduce(total)
        norm = total.sqrt()
        if max_norm is not None and parts:
            factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
            torch._foreach_mul_(parts, factor.to(parts[0].device))
        self.guard.observe(norm)
        return norm

    def step(self, learning_rate: float) -> None:
        """Update this rank's partitions and gather the weights. Synchronises, as DeepSpeed does."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if bool(self.guard.found_inf):
            self.partitions.poison_gradients()
        self.deepspeed.step()
        self.partitions.forget_gradients()

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """In host memory too, but not what is on NVMe."""
        for parameter in self.model.parameters():
            yield "weights", parameter.data
            part = getattr(parameter, "ds_tensor", None)
            if part is not None:
                yield "weights", part.data
        yield from self.partitions.held()
        for states in self.optimizer.state.values():
            for value in states.values():
                if isinstance(value, Tensor):
                    yield "optimizer", value

    def tensors(self) -> Iterator[Piece]:
        """This rank's parts, one flat partition after the other; buffers from rank 0."""
        for group, members in enumerate(self._fragments()):
            with self.partitions.opened(group, write=False) as flat:
                kept = {"weight": flat, **tensors_of(self.optimizer, flat)}
                for name, fragment in members:
                    for kind, tensor in kept.items():
                        yield self._piece(name, kind, fragment, tensor)
        if self.rank == 0:
            for name, buffer in persistent_buffers(self.model):
                flat = buffer.detach().reshape(-1)
                yield Piece(name, "buffer", tuple(buffer.shape), 0, flat.numel(), flat)

    def _piece(self, name: str, kind: str, fragment: Fragment, tensor: Tensor) -> Piece:
        part = tensor.detach().narrow(0, fragment.offset, fragment.length)
        if self.partitions.is_swapped(fragment.group):
            part = part.clone()
        shape = tuple(self.run.parameter_shapes[name])
        return Piece(name, kind, shape, fragment.start, fragment.stop, part)

    def close(self) -> None:
        """Let go of hooks and memory, of the process group if it is this engine's, of files on NVMe."""
        if hasattr(self, "partitions"):
            held = list(self.held())
            self.deepspeed.destroy()
            if self.config.stage == 3:
                # DeepSpeed's objects of stage 3 refer to each other where Python cannot see it.
                _free(tensor for _, tensor in held)
        self.group.close()
        if self.swap_folder is not None:
            shutil.rmtree(self.swap_folder, ignore_errors=True)


def _free(tensors: Iterable[Tensor]) -> None:
    """Give memory back, whoever still refers to it, except what a library allocated by itself."""
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.resizable():
            storage.resize_(0)


def _read_into(flat: Tensor, source: WeightSource, kind: str, members: Members) -> None:
    """Fill a flat partition, or one of its states, from the members' ranges."""
    for name, fragment in members:
        values = source.read(name, kind, fragment.start, fragment.stop)
        flat.narrow(0, fragment.offset, fragment.length).copy_(values)
