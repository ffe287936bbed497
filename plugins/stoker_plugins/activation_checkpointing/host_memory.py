"""Keeps in host memory what backward needs of a block.

Copies are ordered by the device's stream: the host waits for none of them. torch's own `save_on_cpu`
waits for each and moves parameters too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, eq=False)
class HostCopy:
    """A saved tensor while it waits in host memory, page-locked beside a GPU."""

    tensor: Tensor
    device: torch.device

    def fetch(self) -> Tensor:
        """The tensor where it came from."""
        return self.tensor.to(self.device, non_blocking=True, copy=True)


def keep_on_host(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward`, with what it saves for backward in host memory."""

    @wraps(forward)
    def offloaded(*arguments: Any, **keywords: Any) -> Any:
        inputs = [value for value in tree_leaves((arguments, keywords)) if isinstance(value, Tensor)]
        packer = _Packer(shared=inputs[1:])
        with saved_tensors_hooks(packer.pack, _unpack):
            result = forward(*arguments, **keywords)
        packer.forget()
        return result

    return offloaded


class _Packer:
    """Packs what one call of a block saves.

    `shared` are the inputs that all blocks have in common, such as rotary embeddings: they live as long
    as the forward anyway. A tensor that several operations save, such as the input of the query, key and
    value projections, is copied once.
    """

    def __init__(self, shared: list[Tensor]) -> None:
        self._stay = {_address(tensor) for tensor in shared}
        # The weak reference frees the memory, yet keeps the address from being given away.
        self._copies: dict[tuple[Any, ...], tuple[StorageWeakRef, HostCopy]] = {}

    def pack(self, tensor: Tensor) -> Tensor | HostCopy:
        if _is_parameter(tensor) or _address(tensor) in self._stay:
            return tensor
        view = (tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset())
        key = (_address(tensor), tensor._version, *view)
        if key not in self._copies:
            self._copies[key] = (StorageWeakRef(tensor.untyped_storage()), _to_host(tensor))
        return self._copies[key][1]

    def forget(self) -> None:
        """Leave the copies to the graph, which holds the packer as long as it lives itself."""
        self._copies.clear()


def _unpack(packed: Tensor | HostCopy) -> Tensor:
    return packed.fetch() if isinstance(packed, HostCopy) else packed


def _to_host(tensor: Tensor) -> HostCopy:
    host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.device.type == "cuda")
    host.copy_(tensor.detach(), non_blocking=True)
    return HostCopy(host, tensor.device)


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _is_parameter(tensor: Tensor) -> bool:
    """Also a view of one: layers save their transposed weight."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
