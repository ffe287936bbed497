"""Where DeepSpeed 0.19.8 keeps weights, gradients and optimizer states of this rank.

All that stoker knows of DeepSpeed's private parts is here; a test names each of them. Facts tried: both
optimizers of stages 1 and 2 flatten each parameter group and cut it into one range for each rank
(`_hp_mapping` says which of it belongs to a parameter); stage 3 cuts each parameter by itself, and
flattens the parts of a sub-group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Fragment:
    """The range of one trainable parameter that this rank updates; perhaps empty."""

    start: int
    stop: int
    group: int = 0
    """Which flat partition it is in."""
    offset: int = 0
    """Where it begins in there."""

    @property
    def length(self) -> int:
        """Elements."""
        return self.stop - self.start


class Partitions(Protocol):
    """This rank's flat partitions: float32 tensors, which the optimizer takes for its parameters."""

    def fragment(self, parameter: nn.Parameter) -> Fragment:
        """The part of a trainable parameter."""
        ...

    def wait_for_gradients(self) -> None:
        """Until copies to host memory have arrived: gradients are read and changed there."""
        ...

    def gradient(self, parameter: nn.Parameter) -> Tensor:
        """A flat view of the part's complete gradient: what is written to it counts in the step."""
        ...

    def poison_gradients(self) -> None:
        """Make DeepSpeed skip its next step: it does so where gradients are not finite."""
        ...

    def forget_gradients(self) -> None:
        """Zero what DeepSpeed keeps: it would use it again for a parameter outside the next loss."""
        ...

    def num_groups(self) -> int:
        """How many flat partitions there are."""
        ...

    def parameter_group(self, group: int) -> int:
        """Index of the optimizer's parameter group that a flat partition belongs to."""
        ...

    def opened(self, group: int, *, write: bool) -> AbstractContextManager[Tensor]:
        """Gives the flat partition; meanwhile it and its optimizer states are in memory."""
        ...

    def is_swapped(self, group: int) -> bool:
        """Whether it lives on NVMe: its memory is used for others after `opened`."""
        ...

    def held(self) -> Iterator[tuple[str, Tensor]]:
        """What is in memory beside the model's own tensors and the optimizer's states, by component."""
        ...

    def publish(self) -> None:
        """Bring updated master weights to the weights that forward uses, on all ranks."""
        ...


_FLAT_GRADIENTS = (
    "fp32_groups_gradients_flat",
    "averaged_gradients",
    "all_grad_tensors",
    "accumulated_grads_in_cpu",
)
_FLAT_BUFFERS = (
    "param_buffer_of_bit16_for_cpu_offload_groups",
    "temp_grad_buffer_for_cpu_offload",
    "temp_grad_buffer_for_gpu_offload",
)


class FlatPartitions:
    """Stages 1 and 2. DeepSpeed takes another optimizer for bfloat16 at stage 1, with other names."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self._flats: list[Tensor] = [group["params"][0] for group in optimizer.optimizer.param_groups]

    def fragment(self, parameter: nn.Parameter) -> Fragment:
        mapping = getattr(parameter, "_hp_mapping", None)
        if mapping is None:
            return Fragment(0, 0)
        whole, flat = mapping.lp_fragment_address, mapping.hp_fragment_address
        return Fragment(whole.start, whole.start + whole.numel, mapping.param_group_index, flat.start)

    def wait_for_gradients(self) -> None:
        # DeepSpeed itself waits in `step`, and after a backward where communication overlaps with it.
        if getattr(self.optimizer, "cpu_offload", False):
            self.optimizer._wait_for_offload_copies()

    def gradient(self, parameter: nn.Parameter) -> Tensor:
        fragment = self.fragment(parameter)
        if not fragment.length:
            return torch.empty(0)
        mapping: Any = parameter._hp_mapping  # type: ignore[attr-defined]
        index: Any = parameter._index_in_param_group  # type: ignore[attr-defined]
        flat: Tensor = mapping.get_lp_grad_fragment(index).view(-1)
        # The optimizer of bfloat16 at stage 1 sums whole gradients on every rank.
        return flat if flat.numel() == fragment.length else flat[fragment.start : fragment.stop]

    def poison_gradients(self) -> None:
        optimizer = self.optimizer
        for whole in getattr(optimizer, "fp32_groups_gradients_flat", ()):
            whole.fill_(math.nan)
        for parts in getattr(optimizer, "averaged_gradients", {}).values():
            for part in parts or ():
                part.fill_(math.nan)
        if getattr(optimizer, "cpu_offload", False):
            # Gradients were looked at when they were copied to the host; one or the other is asked.
            optimizer.local_overflow = True
            for norm in optimizer.norm_for_param_grads.values():
                norm.fill_(math.nan)

    def forget_gradients(self) -> None:
        for flat in self._flats:
            if flat.grad is not None:
                flat.grad.zero_()

    def num_groups(self) -> int:
        return len(self._flats)

    def parameter_group(self, group: int) -> int:
        return group

    @contextmanager
    def opened(self, group: int, *, write: bool) -> Iterator[Tensor]:
        yield self._flats[group]

    def is_swapped(self, group: int) -> bool:
        return False

    def held(self) -> Iterator[tuple[str, Tensor]]:
        optimizer = self.optimizer
        for flat in self._flats:
            yield "master_weights", flat.data
            yield from _named("gradients", flat.grad)
        for parameters in getattr(optimizer, "bit16_groups", getattr(optimizer, "bf16_groups", ())):
            for parameter in parameters:
                yield from _named("gradients", parameter.grad)
                yield from _named("gradients", getattr(parameter, "grad_accum", None))
        for name in _FLAT_GRADIENTS:
            yield from _named("gradients", getattr(optimizer, name, None))
        for name in _FLAT_BUFFERS:
            yield from _named("buffers", getattr(optimizer, name, None))
        for bucket in getattr(optimizer, "ipg_buckets", {}).values():
            yield from _named("buffers", bucket.buffer)

    def publish(self) -> None:
        self.optimizer._lazy_init_hp_params_optimizer_state()
        self.optimizer.update_lp_params()


class ShardedPartitions:
    """Stage 3."""

    def __init__(self, optimizer: Any, rank: int) -> None:
        self.optimizer = optimizer
        self.rank = rank
        self._gradient_offsets: dict[int, int] = {}
        offset = 0
        for parameters in optimizer.fp16_groups:
            for parameter in parameters:
                self._gradient_offsets[parameter.ds_id] = offset
                offset += parameter.partition_numel()

    def fragment(self, parameter: nn.Parameter) -> Fragment:
        sharded: Any = parameter
        group, offset, _ = self.optimizer.grad_position[self.optimizer.get_param_id(sharded)]
        start, stop = shard_range(sharded, self.rank)
        return Fragment(start, stop, group, offset)

    def wait_for_gradients(self) -> None:
        """DeepSpeed has, at the end of the backward."""

    def gradient(self, parameter: nn.Parameter) -> Tensor:
        sharded: Any = parameter
        offset = self._gradient_offsets[sharded.ds_id]
        flat: Tensor = self.optimizer.grad_partitions_flat_buffer
        return flat.narrow(0, offset, self.fragment(parameter).length)

    def poison_gradients(self) -> None:
        self.optimizer.grad_partitions_flat_buffer.fill_(math.nan)

    def forget_gradients(self) -> None:
        self.optimizer.grad_partitions_flat_buffer.zero_()

    def num_groups(self) -> int:
        return len(self.optimizer.fp16_groups)

    def parameter_group(self, group: int) -> int:
        index: int = self.optimizer.sub_group_to_group_id[group]
        return index

    @contextmanager
    def opened(self, group: int, *, write: bool) -> Iterator[Tensor]:
        optimizer, swapped = self.optimizer, self.is_swapped(group)
        if swapped:
            optimizer._optimizer_states_and_gradient_swap_in(group)
        yield optimizer.fp32_partitioned_groups_flat[group]
        if write:
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        if swapped:
            close = (
                optimizer._optimizer_states_and_gradient_swap_out
                if write
                else optimizer._release_swap_buffers
            )
            close(group)

    def is_swapped(self, group: int) -> bool:
        return bool(self.optimizer._swappable_optimizer_subgroup(group))

    def held(self) -> Iterator[tuple[str, Tensor]]:
        optimizer = self.optimizer
        yield "gradients", optimizer.grad_partitions_flat_buffer
        for flat in optimizer.fp32_partitioned_groups_flat:
            yield "master_weights", flat.data
            yield from _named("gradients", flat.grad)
        for bucket in optimizer.ipg_buckets.values():
            yield from _named("buffers", bucket.buffer)
        if optimizer.swap_optimizer:
            yield from _named("buffers", optimizer.optimizer_swapper.swap_buffer_manager.all_buffers)

    def publish(self) -> None:
        small = self.optimizer.persistent_parameters
        if small:
            small[0].partition(small)
            small[0].all_gather(small)


def _named(component: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in a value of DeepSpeed's: one, several, some by index, or None."""
    if isinstance(value, Tensor):
        yield component, value
    elif isinstance(value, Mapping):
        yield from _named(component, list(value.values()))
    elif value is not None:
        for item in value:
            yield from _named(component, item)


def partitions_of(optimizer: Any, stage: int, rank: int) -> Partitions:
    """Those of an optimizer that `deepspeed.initialize` returned."""
    return ShardedPartitions(optimizer, rank) if stage == 3 else FlatPartitions(optimizer)


def shard_range(parameter: Any, rank: int) -> tuple[int, int]:
    """Row-major range of a parameter that stage 3 has cut into equal parts, the last ones shorter."""
    length, whole = parameter.partition_numel(), parameter.ds_numel
    return min(rank * length, whole), min((rank + 1) * length, whole)


def sharder(settings: Mapping[str, Any], dtype: torch.dtype) -> Callable[[nn.Parameter], nn.Parameter]:
    """A function that gives a parameter cut for stage 3, as under `deepspeed.zero.Init`, without values.

    Parameters come on the meta device, one after the other: only one is whole at a time.
    """
    from deepspeed import zero

    # A `dtype` of its own would be ignored on devices without float16: it takes that of the settings.
    cutter: Any = zero.Init(config_dict_or_path=dict(settings))

    def cut(parameter: nn.Parameter) -> nn.Parameter:
        data = torch.zeros(parameter.shape, dtype=dtype, device=cutter.local_device)
        sharded = nn.Parameter(data, requires_grad=parameter.requires_grad)
        cutter._convert_to_zero_parameters([sharded])
        return sharded

    return cut


@torch.no_grad()
def fill_frozen_shard(parameter: Any, values: Tensor) -> None:
    """Put the values of a frozen parameter's `shard_range` where stage 3 keeps this rank's part."""
    from deepspeed.runtime.swap_tensor.partitioned_param_swapper import PartitionedParamStatus

    part = parameter.ds_tensor
    on_nvme = part.status == PartitionedParamStatus.NOT_AVAILABLE
    if on_nvme:
        parameter.nvme_swapper.swap_in([parameter], async_op=False)
    part.data[: values.numel()].copy_(values)
    if on_nvme:
        parameter.nvme_swapper.swap_out_and_release([parameter])
