"""What each optimizer keeps and takes, in the words of `stoker.plan.facts`. Without torch."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from stoker.plan.facts import Optimizer
from stoker.plan.gpus import CPU
from stoker_plugins.optimizers.names import OPTIONS, PAGED

if TYPE_CHECKING:
    from stoker.plan.situation import Situation
    from stoker_plugins.optimizers import OptimizersConfig

_FLOAT32 = 4
_SCALE_BLOCK = 256
"""bitsandbytes 0.50: moments in 8 bits share a scale by blocks of this size."""


def optimizer_facts(config: OptimizersConfig, situation: Situation) -> Optimizer:
    """The facts of the optimizer that a recipe names."""
    name = config.name
    if name == "adamw":
        return Optimizer()
    if name in ("sgd", "adafactor"):
        return _torch_optimizer(config, situation)
    moments = 1.0 if "lion" in name else 2.0
    paged = fnmatchcase(name, PAGED)
    if not name.endswith("_8bit"):
        return Optimizer(name, moments, moment_bytes=_FLOAT32, paged=paged)
    stated, own = config.min_8bit_size, OPTIONS[name]["min_8bit_size"]
    smallest = own if stated is None else stated
    return Optimizer(
        name,
        moments,
        moment_bytes=1,
        scale_block=_SCALE_BLOCK,
        smallest_quantized=smallest,
        paged=paged,
    )


def _torch_optimizer(config: OptimizersConfig, situation: Situation) -> Optimizer:
    """torch updates tensor by tensor on a CPU, and all of them at once on a GPU (`foreach`)."""
    at_once: Literal["parameter", "all"]
    at_once = "parameter" if situation.gpu.name == CPU else "all"
    item = situation.master_bytes
    if config.name == "sgd":
        # The gradient plus the weight times its decay is a new tensor.
        moments = 0.0 if config.momentum == 0 else 1.0
        return Optimizer("sgd", moments, step_bytes=item, updates_at_once=at_once)
    # The second moment put together from rows and columns, and the update made of it.
    return Optimizer("adafactor", 1.0, factored=True, step_bytes=2 * item, updates_at_once=at_once)
