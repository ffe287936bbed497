"""Optimizers over flat partitions: DeepSpeed's AdamW in host memory, and states for checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stoker.errors import StokerError
from stoker.train.optimizer_states import STEP

if TYPE_CHECKING:
    from stoker_plugins.zero import ZeroConfig


def fitting_optimizer(
    optimizer: torch.optim.Optimizer, config: ZeroConfig
) -> tuple[torch.optim.Optimizer, str]:
    """The optimizer to use, and what to say about it; only AdamW in host memory is replaced."""
    if config.offload_optimizer == "none" or type(optimizer) is not torch.optim.AdamW:
        return optimizer, ""
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    options = {key: optimizer.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")}
    groups = [
        {key: group[key] for key in ("params", "lr", "betas", "eps", "weight_decay")}
        for group in optimizer.param_groups
    ]
    replacement = DeepSpeedCPUAdam(groups, adamw_mode=True, **options)
    return replacement, (
        "offload: DeepSpeed's AdamW for CPUs takes the place of torch's, with the same hyperparameters"
    )


def make_states(optimizer: torch.optim.Optimizer, flat: Tensor, group: int) -> None:
    """Let the optimizer make its states for one flat partition, by a step that changes no weight.

    `group`: index of the partition's parameter group. See `stoker.train.optimizer_states.make_states`;
    gradient buffers that DeepSpeed keeps stay where they are.
    """
    groups, gradient = optimizer.param_groups, flat.grad
    before = [dict(values) for values in groups]
    for values in groups:
        values |= {"params": [], "lr": 0.0}
    groups[group]["params"] = [flat]
    flat.grad = torch.zeros_like(flat)
    optimizer.step()
    flat.grad = gradient
    for values, earlier in zip(groups, before, strict=True):
        values.update(earlier)


def tensors_of(optimizer: torch.optim.Optimizer, flat: Tensor) -> dict[str, Tensor]:
    """The optimizer's states for a flat partition, but for its step count.

    Raises `StokerError` for a state that does not belong to single elements: it cannot be cut anew.
    """
    states: dict[str, Tensor] = {}
    for kind, value in optimizer.state.get(flat, {}).items():
        if kind == STEP or value is None:
            continue
        if not isinstance(value, Tensor) or value.shape != flat.shape:
            raise StokerError(
                f"{type(optimizer).__name__} keeps {kind!r}, which belongs to no single elements of the "
                "weights and cannot be saved under ZeRO.",
                hint="Use another optimizer, or another engine.",
            )
        states[kind] = value
    return states


def catch_up(optimizer: torch.optim.Optimizer, steps: int, num_partitions: int) -> None:
    """Bring DeepSpeed's AdamW for CPUs to where it was after `steps` updates of all partitions.

    It multiplies its bias corrections up from update to update, for all partitions together: computed at
    once they differ in the last bit. So a resumed run updates single numbers as often as it did before.
    """
    if type(optimizer).__name__ != "DeepSpeedCPUAdam":
        return
    groups = optimizer.param_groups
    before = [dict(values) for values in groups]
    numbers = [torch.zeros(1, requires_grad=True) for _ in range(num_partitions)]
    for number in numbers:
        number.grad = torch.zeros(1)
    for values in groups:
        values["params"] = []
    groups[0]["params"] = numbers
    for _ in range(steps):
        optimizer.step()
    for number in numbers:
        optimizer.state.pop(number, None)
    for values, earlier in zip(groups, before, strict=True):
        values.update(earlier)
