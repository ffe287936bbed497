"""Counts bytes of tensors that are alive, each storage once."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stoker.train.engine import Engine

COMPONENTS = ("weights", "gradients", "master_weights", "optimizer", "buffers")


def count(engine: Engine) -> dict[str, int]:
    """Bytes by component, and of all other tensors that Python knows; peaks on CUDA devices.

    A storage that serves two components counts for the first of them.
    """
    seen: set[int] = set()
    counted = dict.fromkeys(COMPONENTS, 0)
    for component, tensor in engine.held():
        counted[component] += _new_bytes(tensor, seen)
    counted["other"] = sum(_new_bytes(tensor, seen) for tensor in _alive())
    if engine.device.type == "cuda":
        counted["allocated_peak"] = torch.cuda.max_memory_allocated(engine.device)
        counted["reserved_peak"] = torch.cuda.max_memory_reserved(engine.device)
    return counted


def _new_bytes(tensor: Tensor, seen: set[int]) -> int:
    if tensor.device.type == "meta" or type(tensor).__name__ == "FakeTensor":
        return 0
    storage = tensor.untyped_storage()
    if storage._cdata in seen or storage.nbytes() == 0:
        return 0
    seen.add(storage._cdata)
    return storage.nbytes()


def _alive() -> Iterable[Tensor]:
    with warnings.catch_warnings():
        # Some objects of libraries warn when their class is asked for.
        warnings.simplefilter("ignore")
        return [item for item in gc.get_objects() if type(item) in (Tensor, torch.nn.Parameter)]


def describe(counted: Mapping[str, int]) -> str:
    """The components that are not empty, in words."""
    parts = [
        f"{name.replace('_', ' ')} {counted[name] / 1e6:,.1f}"
        for name in (*COMPONENTS, "other")
        if counted[name]
    ]
    total = sum(counted[name] for name in (*COMPONENTS, "other"))
    return f"rank 0 holds {total / 1e6:,.1f} MB: {', '.join(parts)}"
