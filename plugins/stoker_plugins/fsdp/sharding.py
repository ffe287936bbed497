"""Applies `fully_shard` to a model on the meta device and gives its parameters memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor

from stoker.train.weights import replace_parameters

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from stoker.train.precision import Regime
    from stoker_plugins.fsdp import FsdpConfig
    from stoker_plugins.fsdp.parts import Parts


def apply_fsdp(
    model: nn.Module, parts: Parts, mesh: DeviceMesh, regime: Regime, config: FsdpConfig
) -> None:
    """Shard every part, then what is left as the root; parameters are on the meta device.

    Frozen parameters in the compute dtype and trained ones in the master dtype may share a part:
    both are gathered in the compute dtype, and only trained ones are reduced.
    """
    policy: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(param_dtype=regime.compute, reduce_dtype=regime.master),
        "offload_policy": _offload_policy(config, mesh),
    }
    reshard = config.reshard_after_forward
    # Over one rank "gathering" is a copy in the compute dtype, which need not outlive its use.
    frees = config.strategy != "SHARD_GRAD_OP" if reshard is None else reshard
    looks_up_only = type(parts.embedding) is nn.Embedding
    for part in parts.in_order:
        # The backward begins with the head, so freeing its weights would be for nothing.
        keeps = part is parts.head and reshard is None
        fully_shard(part, reshard_after_forward=False if keeps else frees, **policy)
    fully_shard(model, **policy)
    if looks_up_only and parts.embedding is not None:
        # The gradient of a look-up needs the indices, not the table.
        _fsdp(parts.embedding).set_unshard_in_backward(False)
    _prefetch(model, parts, config.prefetch)
    # Experts that got no token on this rank have no gradient, but other ranks wait for one.
    _fsdp(model).set_reduce_scatter_unused_params(True)


def _offload_policy(config: FsdpConfig, mesh: DeviceMesh) -> OffloadPolicy:
    if not config.cpu_offload:
        return OffloadPolicy()
    return CPUOffloadPolicy(pin_memory=config.pin_memory and mesh.device_type == "cuda")


def _prefetch(model: nn.Module, parts: Parts, depth: int) -> None:
    """Gather the next `depth` parts while one computes, in either direction."""
    order = [_fsdp(part) for part in parts.in_order]
    for number, part in enumerate(order):
        part.set_modules_to_forward_prefetch(order[number + 1 : number + 1 + depth])
        part.set_modules_to_backward_prefetch(order[max(0, number - depth) : number][::-1])
    root = _fsdp(model)
    root.set_modules_to_forward_prefetch(order[:depth])
    root.set_modules_to_backward_prefetch(order[-depth:][::-1])


def allocate(model: nn.Module, device: torch.device, *, pin: bool) -> None:
    """Put uninitialised memory under this rank's part of every parameter."""

    def make(parameter: nn.Parameter) -> nn.Parameter:
        assert isinstance(parameter, DTensor)
        part = parameter.to_local()
        memory = torch.empty(part.shape, dtype=part.dtype, device=device, pin_memory=pin)
        whole = DTensor.from_local(
            memory,
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
        return nn.Parameter(whole, requires_grad=parameter.requires_grad)

    replace_parameters(model, make)


def unfinished_gradients(model: nn.Module) -> Iterator[Tensor]:
    """What FSDP accumulates between micro-batches beside the parameters' own gradients.

    Whole gradients where `reduce_gradients` is `last_micro_batch`, and with several replicas sums
    over this rank's group only. torch 2.13 has no public name for them.
    """
    for module in model.modules():
        groups = module._get_fsdp_state()._fsdp_param_groups if isinstance(module, FSDPModule) else ()
        for group in groups:
            if group._partial_reduce_output is not None:
                yield group._partial_reduce_output
            for parameter in group.fsdp_params:
                whole = getattr(parameter, "_unsharded_param", None)
                for gradient in (parameter.unsharded_accumulated_grad, getattr(whole, "grad", None)):
                    if gradient is not None:
                        yield gradient


def _fsdp(module: nn.Module) -> FSDPModule:
    assert isinstance(module, FSDPModule)
    return module
