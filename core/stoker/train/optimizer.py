"""Parameter groups and the default optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stoker.train.adamw import AdamWFloat32States
from stoker.train.precision import Regime

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def parameter_groups(
    model: nn.Module, shapes: Mapping[str, torch.Size], weight_decay: float
) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices decay, vectors (norms, biases) do not.

    `shapes` are those of the whole tensors, by name. Order follows `model.named_parameters()`, which is
    the same on every rank.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in trainable if len(shapes[n]) >= 2], "weight_decay": weight_decay},
        {"params": [p for n, p in trainable if len(shapes[n]) < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def default_optimizer(
    groups: list[dict[str, Any]],
    regime: Regime,
    *,
    betas: tuple[float, float] = BETAS,
    eps: float = EPSILON,
) -> torch.optim.Optimizer:
    """Fused AdamW, or our own where the regime keeps float32 moments beside bfloat16 weights."""
    if regime.state != regime.master:
        return AdamWFloat32States(groups, lr=0.0, betas=betas, eps=eps)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)
