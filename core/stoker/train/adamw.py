"""AdamW that keeps float32 moments beside bfloat16 weights.

torch's own AdamW gives the moments the dtype of the weights. Every element is updated alone and by plain
tensor operations, so it also runs on flat partitions, and each rank updates its own part of a DTensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer


class AdamWFloat32States(Optimizer):
    """Decoupled weight decay Adam (Loshchilov and Hutter 2019) with float32 arithmetic and moments.

    The updated weight is rounded to the weight's dtype once, at the end. `found_inf`, a float32
    scalar tensor on the device, turns a step into a no-op where it is not 0, without the host
    looking at it.
    """

    _step_supports_amp_scaling = True
    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Apply one update to every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=torch.float32)
        # 1 where the step counts and 0 where it is skipped; `where` keeps NaN out of the state.
        keep = None if self.found_inf is None else self.found_inf == 0
        beta1, beta2 = group["betas"]
        assert parameter.grad is not None
        gradient = _own_part(parameter.grad).float()
        first, second = _own_part(state["exp_avg"]), _own_part(state["exp_avg_sq"])
        own = _own_part(parameter)
        exp_avg = first.lerp(gradient, 1 - beta1)
        exp_avg_sq = second.lerp(gradient.square(), 1 - beta2)
        step = state["step"] + 1
        rate = exp_avg / (1 - beta1**step)
        rate /= (exp_avg_sq / (1 - beta2**step)).sqrt_().add_(group["eps"])
        weight = own.float()
        weight = weight * (1 - group["lr"] * group["weight_decay"]) - group["lr"] * rate
        for target, value in (
            (first, exp_avg),
            (second, exp_avg_sq),
            (state["step"], step),
            (own, weight.to(own.dtype)),
        ):
            target.copy_(value if keep is None else torch.where(keep, value, target))


def _own_part(tensor: Tensor) -> Tensor:
    """This rank's part of a DTensor, which shares its memory; any other tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
