"""Makes the optimizer that a recipe names, from torch or bitsandbytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from stoker.errors import MissingRequirementError
from stoker.train.optimizer import default_optimizer
from stoker_plugins.optimizers.names import OPTIONS

if TYPE_CHECKING:
    from stoker.train.precision import Regime
    from stoker_plugins.optimizers import OptimizersConfig

Groups = list[dict[str, Any]]


def require_cuda(name: str) -> None:
    """Raise `MissingRequirementError` without a CUDA device.

    bitsandbytes would take ordinary memory for a paged optimizer then, with a warning.
    """
    if not torch.cuda.is_available():
        raise MissingRequirementError(
            f"optimizer {name!r} needs a CUDA device: it moves its states between the GPU and the host.",
            hint=f"Set plugins.optimizers.name to {name.removeprefix('paged_')!r}.",
        )


def make(config: OptimizersConfig, groups: Groups, regime: Regime) -> torch.optim.Optimizer:
    """The optimizer over `groups`. The engine sets the learning rate before each step."""
    options = _options(config)
    if config.name == "adamw":
        return default_optimizer(groups, regime, **options)
    if config.name == "sgd":
        # Not the fused one: in torch 2.13 it leaves bfloat16 weights on CPUs as they are, and takes
        # uninitialised memory for its momentum where loss scaling has skipped the first step.
        return torch.optim.SGD(groups, lr=0.0, fused=False, **options)
    if config.name == "adafactor":
        return torch.optim.Adafactor(
            groups,
            lr=0.0,
            beta2_decay=options["beta2_decay"],
            eps=(None, options["min_scale"]),
            d=options["clipping_threshold"],
        )
    return _from_bitsandbytes(config.name, groups, options)


def _options(config: OptimizersConfig) -> dict[str, Any]:
    """What the optimizer takes: the recipe's values, and its own where the recipe says nothing."""
    stated = {
        "betas": config.betas,
        "eps": config.eps,
        "momentum": config.momentum,
        "nesterov": config.nesterov,
        "beta2_decay": config.beta2_decay,
        "clipping_threshold": config.clipping_threshold,
        "min_scale": config.min_scale,
        "min_8bit_size": config.min_8bit_size,
    }
    defaults = OPTIONS[config.name]
    return {key: own if stated[key] is None else stated[key] for key, own in defaults.items()}


def _from_bitsandbytes(name: str, groups: Groups, options: dict[str, Any]) -> torch.optim.Optimizer:
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit, PagedAdamW32bit
    from bitsandbytes.optim.lion import Lion8bit, Lion32bit, PagedLion8bit, PagedLion32bit

    classes: dict[str, Any] = {
        "adamw_8bit": AdamW8bit,
        "paged_adamw": PagedAdamW32bit,
        "paged_adamw_8bit": PagedAdamW8bit,
        "lion": Lion32bit,
        "lion_8bit": Lion8bit,
        "paged_lion": PagedLion32bit,
        "paged_lion_8bit": PagedLion8bit,
    }
    made: torch.optim.Optimizer = classes[name](groups, lr=0.0, **options)
    return made
