"""Every trainable tensor must learn: checked once, over the first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from stoker.errors import StokerError

if TYPE_CHECKING:
    from stoker.train.state import State

STEPS = 3


class GradientCoverage:
    """Watches the first three steps with a learning rate above 0.

    A tensor whose gradient was never finite and non-zero on any rank is not trained: an adapter
    cut off by checkpointing, a frozen path, a forgotten module. Costs one synchronisation, at the
    end of the third step.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.names = [name for name, p in state.model.named_parameters() if p.requires_grad]
        self._seen: Tensor | None = torch.zeros(len(self.names), device=state.engine.device)
        self._steps = 0

    def observe(self, learning_rate: float) -> None:
        """Look at the complete gradients of a step. Raises `StokerError` after the third."""
        if self._seen is None or learning_rate <= 0:
            return
        self._seen = torch.maximum(self._seen, self._alive())
        self._steps += 1
        if self._steps == STEPS:
            self._judge(self._seen)
            self._seen = None

    def _alive(self) -> Tensor:
        parameters = dict(self.state.model.named_parameters())
        zero = torch.zeros((), device=self.state.engine.device)
        norms = [
            zero if (gradient := parameters[name].grad) is None else gradient.float().abs().max()
            for name in self.names
        ]
        stacked = torch.stack(norms)
        return ((stacked > 0) & torch.isfinite(stacked)).float()

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


def _some(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
