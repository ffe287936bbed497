"""Counts what a forward keeps for its backward."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class KeptForBackward(TorchDispatchMode):
    """Bytes that operations allocated while this was active and that something still holds.

    Each storage counts once. Hooks on saved tensors would not see what selective checkpointing
    keeps, and would count weights; this sees every allocation, whoever holds it, and no weight::

        with KeptForBackward() as kept:
            loss = model(input_ids).logits.sum()
        print(kept.num_bytes())
        loss.backward()
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = {_address(tensor) for tensor in _tensors((args, kwargs))}
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            # Views, and what is written in place, allocate nothing.
            if _address(tensor) not in given:
                storage = tensor.untyped_storage()
                self._storages[_address(tensor)] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def num_bytes(self) -> int:
        """Bytes of the storages that are alive now."""
        return sum(size for reference, size in self._storages.values() if not reference.expired())


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _address(tensor: Tensor) -> int:
    # The weak reference keeps the address from being given to another storage.
    return int(tensor.untyped_storage()._cdata)
