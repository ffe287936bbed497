"""Every trainable tensor must learn: checked once, over the first steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from stoker.errors import StokerError

if TYPE_CHECKING:
    from stoker.train.state import State

STEPS = 3


class GradientCoverage:
    """Watches the first three steps with a learning rate above 0 and finite gradients.

    A tensor whose gradient was never finite and non-zero on any rank is not trained: an adapter
    cut off by checkpointing, a frozen path, a forgotten module. Costs one synchronisation, at the
    end of the third step, and another for every three steps until three of them were finite.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.names = [name for name, p in state.model.named_parameters() if p.requires_grad]
        device = state.engine.device
        self._seen: Tensor | None = torch.zeros(len(self.names), device=device)
        self._counted = torch.zeros((), device=device)
        self._steps = 0

    def observe(self, learning_rate: float) -> None:
        """Look at the complete gradients of a step. Raises `StokerError` after the third."""
        if self._seen is None or learning_rate <= 0:
            return
        gradients = dict(self.state.engine.gradients())
        if self.state.engine.world_size > 1:
            refuse_missing(gradients)
        norms = self._largest(gradients)
        finite = torch.isfinite(norms)
        self._seen = torch.maximum(self._seen, ((norms > 0) & finite).float())
        self._counted += finite.all()
        self._steps += 1
        # SYNC: fp16 may skip its first steps, which say nothing about the adapter behind them.
        if self._steps % STEPS == 0 and (self._all_counted() or self.state.engine.failed()):
            self._judge(self._seen)
            self._seen = None

    def _all_counted(self) -> bool:
        """Whether three steps were finite on every rank: each sees its own part only."""
        if dist.is_initialized():
            dist.all_reduce(self._counted, dist.ReduceOp.MIN)
        return bool(self._counted >= STEPS)

    def _largest(self, gradients: Mapping[str, Tensor | None]) -> Tensor:
        """Largest absolute element of this rank's part of each gradient; 0 where there is none."""
        device = self.state.engine.device
        zero = torch.zeros((), device=device)
        parts = {name: part for name, part in gradients.items() if part is not None and part.numel()}
        norms = torch._foreach_norm(list(parts.values()), ord=math.inf) if parts else ()
        largest = dict(zip(parts, norms, strict=True))
        # With offload gradients are in host memory.
        return torch.stack([largest.get(name, zero).to(device, torch.float32) for name in self.names])

    def _judge(self, seen: Tensor) -> None:
        # A run whose gradients are not finite is reported as such at the next log point.
        if dist.is_initialized():
            dist.all_reduce(seen, dist.ReduceOp.MAX)
        if bool(self.state.engine.failed()):
            return
        untrained = [name for name, value in zip(self.names, seen.tolist(), strict=True) if not value]
        experts = [name for name in untrained if "experts." in name]
        others = [name for name in untrained if "experts." not in name]
        if experts and self.state.run.is_main:
            self.state.run.events.write(
                "alert",
                message=f"{len(experts)} expert tensors had no gradient in the first {STEPS} steps: "
                + _some(experts),
            )
        if others:
            raise StokerError(
                f"{len(others)} of {len(self.names)} trainable tensors had no gradient in the first "
                f"{STEPS} steps: {_some(others)}.",
                hint="Freeze them with [plugins.freeze], or switch off the plugin that cuts them off.",
            )


def refuse_missing(gradients: Mapping[str, Tensor | None]) -> None:
    """With several ranks a tensor outside the graph would stop the next reduction.

    Raises `StokerError` naming those without a gradient.
    """
    missing = [name for name, gradient in gradients.items() if gradient is None]
    if missing:
        raise StokerError(
            f"{len(missing)} of {len(gradients)} trainable tensors take no part in the loss: "
            f"{_some(missing)}.",
            hint="Freeze them with [plugins.freeze]: ranks cannot average what is not there.",
        )


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
