"""Every storage that is alive, and when its bytes came and went.

A storage is what tensors that share memory have in common, so that each byte counts once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch._guards import active_fake_mode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves


@dataclass(eq=False)
class Allocation:
    """A storage from its first sight on."""

    operation: str
    """What gave the first tensor in it."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    moment: str
    """When that was."""
    has_gradients: bool
    """Whether autograd was recording: in the backward, only what is computed anew is recorded."""
    was_resized: bool = False
    """Its memory was given back and taken again, as FSDP does with gathered weights."""
    casts: Allocation | None = field(default=None, repr=False)
    """The one that it is a copy of in another dtype."""


class Change(NamedTuple):
    """Bytes that came (positive) or went."""

    moment: str
    allocation: Allocation
    num_bytes: int


class StorageLog(TorchDispatchMode):
    """While it is active, sees what every operation is given and returns.

    Sees what reaches torch's dispatcher: outputs and intermediate tensors of forward, backward,
    optimizer and collectives, whoever holds them; not the scratch memory inside of a kernel. Tensors on
    the meta device take no memory and are left out; those of a `FakeTensorMode` count as what they
    stand for::

        with StorageLog() as log:
            ...                     # build
            log.moment = "forward"
            log.changes.clear()     # what is alive stays known
            ...
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moment = "building"
        self.changes: list[Change] = []
        self._alive: dict[int, tuple[weakref.ref[Any], Allocation, int]] = {}
        """By `id` of the storage's Python object, which lives as long as the storage."""
        self._ignored: weakref.WeakSet[Any] = weakref.WeakSet()
        self.fake_mode: FakeTensorMode | None = None
        """The one under which training runs; what happens under another allocates nothing."""

    def __enter__(self) -> Self:
        self._restore_resize = _watch_resizes(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)  # type: ignore[no-untyped-call]
        self._restore_resize()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # its own operations on local tensors come by here
        result = func(*args, **(kwargs or {}))
        # DTensor works out shapes under a fake mode of its own: nothing is allocated there.
        if active_fake_mode() is self.fake_mode:
            given = _tensors((args, kwargs))
            for tensor in given:
                self.see(tensor, f"given to {func}")
            for tensor in _tensors(result):
                self.see(tensor, str(func), given)
        return result

    def see(self, tensor: Tensor, operation: str, given: Sequence[Tensor] = ()) -> Allocation | None:
        """Take note of a tensor's storage; None for one that takes no memory."""
        if not _takes_memory(tensor):
            return None
        storage = tensor.untyped_storage()
        known = self._alive.get(id(storage))
        if known is not None:
            self._note_size(storage, known)
            return known[1]
        if storage in self._ignored:
            return None
        allocation = Allocation(
            operation, tuple(tensor.shape), tensor.dtype, self.moment, torch.is_grad_enabled()
        )
        if given and operation.startswith("aten._to_copy"):
            allocation.casts = self.allocation_of(given[0])
        key = id(storage)
        reference = weakref.ref(storage, partial(self._forget, key))
        self._alive[key] = (reference, allocation, storage.nbytes())
        self.changes.append(Change(self.moment, allocation, storage.nbytes()))
        return allocation

    def allocation_of(self, tensor: Tensor) -> Allocation | None:
        """What is known of a tensor's storage."""
        known = self._alive.get(id(tensor.untyped_storage())) if _takes_memory(tensor) else None
        return known[1] if known else None

    def ignore(self, tensor: Tensor) -> None:
        """Leave a tensor out from now on: it stands for one in the memory of the host."""
        storage = tensor.untyped_storage()
        self._ignored.add(storage)
        if known := self._alive.get(id(storage)):
            self._forget(id(storage), known[0])

    def alive(self) -> dict[Allocation, int]:
        """Bytes of every storage that is alive now."""
        return {allocation: size for _, allocation, size in self._alive.values()}

    def _note_size(self, storage: Any, known: tuple[weakref.ref[Any], Allocation, int]) -> None:
        reference, allocation, before = known
        if storage.nbytes() != before:
            self._alive[id(storage)] = (reference, allocation, storage.nbytes())
            self.changes.append(Change(self.moment, allocation, storage.nbytes() - before))

    def note_resize(self, storage: Any) -> None:
        """A storage was given memory, or lost it, and stayed the same object."""
        known = self._alive.get(id(storage))
        if known is not None:
            known[1].was_resized = True
            self._note_size(storage, known)

    def _forget(self, key: int, reference: weakref.ref[Any]) -> None:
        known = self._alive.get(key)
        if known is not None and known[0] is reference:
            del self._alive[key]
            if known[2]:
                self.changes.append(Change(self.moment, known[1], -known[2]))


def _takes_memory(tensor: Tensor) -> bool:
    return tensor.device.type != "meta" and not is_traceable_wrapper_subclass(tensor)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _watch_resizes(log: StorageLog) -> Callable[[], None]:
    """`resize_` of a storage is no operation of the dispatcher. Returns what ends the watching."""
    kind: Any = torch.UntypedStorage
    original = kind.resize_

    def resize(storage: torch.UntypedStorage, size: int) -> Any:
        result = original(storage, size)
        log.note_resize(storage)
        return result

    def restore() -> None:
        kind.resize_ = original

    kind.resize_ = resize
    return restore
