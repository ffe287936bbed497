"""Ranks that do not exist and tensors without memory, so that large models are measured on a laptop.

torch's fake process group answers at once, with nothing; its FakeTensors have a shape, a dtype and a
device. A few places of torch 2.13 want more than that, and are given what they need here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parallel import distributed as ddp
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from stoker.errors import UsageError
from stoker.train.distributed import Place, disconnect, publish

_PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@contextmanager
def fake_ranks(ranks: int, nodes: int = 1) -> Iterator[None]:
    """This process is rank 0 of `ranks` on `nodes`.

    Collectives return at once, with nothing from the others. A group of this process alone, as an
    earlier run may have left it, is given up. Raises `UsageError` in a process that has joined others.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        raise UsageError(
            "this process has joined real ranks, so it cannot pretend to have others.",
            hint="Measure with ranks that do not exist in a process of its own.",
        )
    disconnect()
    before = {name: os.environ.get(name) for name in _PLACE}
    publish(Place(0, ranks, 0, ranks // nodes))
    _forget_accelerate()
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()
        _forget_accelerate()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _forget_accelerate() -> None:
    """Accelerate remembers for the whole process which rank it is."""
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


@contextmanager
def fake_tensors() -> Iterator[FakeTensorMode]:
    """Tensors that are made in here take no memory; real ones are treated like them."""
    with ExitStack() as stack:
        mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(_HostReads())  # type: ignore[no-untyped-call]
        stack.enter_context(_GroupedProducts())  # type: ignore[no-untyped-call]
        stack.enter_context(_real_meshes())
        stack.enter_context(_replicas_without_others())
        yield mode


class _HostReads(TorchDispatchMode):
    """What the host reads of a tensor that has no value is 1: a number of steps, say.

    A tensor from before, such as the flag that skips an update, has the value that it had.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.ops.aten._local_scalar_dense.default:
            return func(*args, **(kwargs or {}))
        if isinstance(args[0], FakeTensor):
            return 1.0 if args[0].dtype.is_floating_point else 1
        with unset_fake_temporarily():
            return func(*args)


class _GroupedProducts(TorchDispatchMode):
    """Products of experts have a kernel for every dtype, but their shape is known for bfloat16 only."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._grouped_mm.default and args[0].dtype != torch.bfloat16:
            return _grouped_product(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _grouped_product(
    first: Tensor, second: Tensor, offs: Tensor | None = None, *_: object, **__: object
) -> Tensor:
    """[M, K] x [G, K, N] -> [M, N], rows in groups; [M, K] x [K, N] -> [G, M, N], sums in groups."""
    rows, columns = first.shape[-2], second.shape[-1]
    if first.dim() == 3 and second.dim() == 3:
        return first.new_empty(first.shape[0], rows, columns)
    if first.dim() == 2 and second.dim() == 2:
        assert offs is not None
        return first.new_empty(offs.shape[0], rows, columns)
    return first.new_empty(rows, columns)


@contextmanager
def _real_meshes() -> Iterator[None]:
    """A mesh is made of numbers of ranks, which it reads."""
    original = DeviceMesh.__init__

    def make(mesh: DeviceMesh, *arguments: Any, **keywords: Any) -> None:
        with unset_fake_temporarily():
            ranks = keywords.get("_rank_map")
            if isinstance(ranks, FakeTensor):
                keywords["_rank_map"] = torch.arange(ranks.numel(), dtype=ranks.dtype)
            original(mesh, *arguments, **keywords)

    with _replaced(DeviceMesh, "__init__", make):
        yield


@contextmanager
def _replicas_without_others() -> Iterator[None]:
    """DDP compares shapes and orders buckets through memory, and waits for a result: there is none."""
    original = DistributedDataParallel.__init__

    def make(module: DistributedDataParallel, *arguments: Any, **keywords: Any) -> None:
        original(module, *arguments, **keywords)
        # torch reads annotations of hooks, and does not understand them as strings.
        module.register_comm_hook(None, lambda _, bucket: _reduced(bucket))
        module.reducer = _ReducerAsBuilt(module.reducer)  # type: ignore[assignment]

    with (
        _replaced(DistributedDataParallel, "__init__", make),
        _replaced(ddp, "_verify_param_shape_across_processes", lambda *_: None),
    ):
        yield


def _reduced(bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """As after the reduction, which is done in the bucket itself."""
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(bucket.buffer())
    return future


class _ReducerAsBuilt:
    """DDP's reducer, whose buckets stay those that were made first, which are as large together."""

    def __init__(self, reducer: Any) -> None:
        self._reducer = reducer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reducer, name)

    def _rebuild_buckets(self) -> bool:
        return False


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
