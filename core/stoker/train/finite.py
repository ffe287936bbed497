"""Non-finite losses and gradients: stopped on the device, seen by the host at the next log point."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

INITIAL_SCALE = 2.0**16
GROWTH_INTERVAL = 2000
SKIPS_BEFORE_FAILURE = 20

_SAVED = {
    "loss_scale": "scale",
    "good_steps_in_a_row": "_good_in_a_row",
    "skipped_steps_in_a_row": "_skips_in_a_row",
}


def spoiling(loss_sum: Tensor) -> Tensor:
    """The same loss; where it is not finite, nothing of its gradient is either.

    A loss can be infinite and its gradient finite: that of cross-entropy is softmax - 1 at a target
    of probability 0. This way one look at the gradient norm finds both, on all ranks.
    """
    return loss_sum * (loss_sum.detach() * 0 + 1)


class FiniteGuard:
    """Scalars on the device that decide whether an optimizer step counts.

    Without loss scaling the first non-finite gradient norm sets `failed`, and that step and all
    later ones are no-ops. With loss scaling (fp16, Micikevicius et al. 2018) an overflow skips its
    step and halves the scale; `failed` is set after 20 skips in a row.
    """

    def __init__(self, device: torch.device, *, scales_loss: bool) -> None:
        self.scales_loss = scales_loss
        self.found_inf = torch.zeros((), device=device)
        """float32: not 0 makes this optimizer step a no-op."""
        self.failed = torch.zeros((), device=device)
        self.num_skipped = torch.zeros((), device=device)
        self.scale = torch.full((), INITIAL_SCALE if scales_loss else 1.0, device=device)
        self._skips_in_a_row = torch.zeros((), device=device)
        self._good_in_a_row = torch.zeros((), device=device)

    def observe(self, gradient_norm: Tensor) -> None:
        """Take note of a step's unscaled gradient norm, the same on all ranks."""
        bad = (~torch.isfinite(gradient_norm)).to(torch.float32)
        if self.scales_loss:
            self._skips_in_a_row.add_(1).mul_(bad)
            self.failed.copy_(torch.maximum(self.failed, self._skips_in_a_row >= SKIPS_BEFORE_FAILURE))
            self._adjust_scale(bad)
        else:
            self.failed.copy_(torch.maximum(self.failed, bad))
        self.found_inf.copy_(torch.maximum(bad, self.failed))
        self.num_skipped.add_(self.found_inf)

    def save_state(self) -> dict[str, float]:
        """What a checkpoint holds of loss scaling; nothing without it. A synchronisation."""
        if not self.scales_loss:
            return {}
        return {name: float(getattr(self, attribute)) for name, attribute in _SAVED.items()}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on with the scale of a checkpoint; begin anew where it has none."""
        for name, attribute in _SAVED.items():
            if self.scales_loss and name in state:
                getattr(self, attribute).fill_(state[name])

    def _adjust_scale(self, bad: Tensor) -> None:
        self._good_in_a_row.add_(1).mul_(1 - bad)
        grow = (self._good_in_a_row >= GROWTH_INTERVAL).to(torch.float32)
        self._good_in_a_row.mul_(1 - grow)
        self.scale.mul_((1 + grow) * (1 - 0.5 * bad))
