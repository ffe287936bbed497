"""Optimizers other than the default AdamW: in 8 bits, paged, factored, with one moment or none."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal
from stoker.errors import MissingRequirementError
from stoker.recipe.problems import Fix, Problem
from stoker.recipe.words import one_of
from stoker_plugins.optimizers.names import BITSANDBYTES, NOT_ADAMW, OPTIONS, PAGED, Name, takers

_USE_ADAMW = Fix(action="set", key="plugins.optimizers.name", value="adamw")

if TYPE_CHECKING:
    import torch

    from stoker.plan.situation import Situation
    from stoker.recipe.model import Recipe
    from stoker.run.context import Run

Rate = Annotated[float, Field(ge=0, lt=1)]


class OptimizersConfig(PluginConfig):
    """Which optimizer, and its options. Learning rate and weight decay are those of `[train]`."""

    name: Name = Field(
        description="`adamw`, `adafactor` and `sgd` are torch's, the others bitsandbytes'; `8bit` keeps "
        "moments in 8 bits, `paged` moves them to host memory when the GPU's is full."
    )
    betas: tuple[Rate, Rate] | None = Field(
        default=None, description="Decay of the moments: (0.9, 0.999) for AdamW, (0.9, 0.99) for Lion."
    )
    eps: float | None = Field(
        default=None, gt=0, description="AdamW: added to the root of the second moment; 1e-8."
    )
    momentum: Rate | None = Field(
        default=None, description="SGD: share of the last update; 0.9. With 0 it keeps no state."
    )
    nesterov: bool | None = Field(
        default=None, description="SGD: look ahead by the momentum (Nesterov); false."
    )
    beta2_decay: float | None = Field(
        default=None,
        le=0,
        description="Adafactor: the second moment forgets with 1 - step ** beta2_decay; -0.8.",
    )
    clipping_threshold: float | None = Field(
        default=None, ge=1, description="Adafactor: largest root mean square of an update; 1.0."
    )
    min_scale: float | None = Field(
        default=None,
        ge=0,
        description="Adafactor: smallest root mean square that a tensor's steps are scaled by; 1e-3.",
    )
    min_8bit_size: int | None = Field(
        default=None,
        ge=0,
        description="8 bits: tensors with fewer elements keep their moments in 32 bits; 4096.",
    )


class Optimizers(Plugin[OptimizersConfig]):
    """Train with another optimizer, to save memory or by taste.

    Bytes of state per parameter: AdamW 8, or 4 in `bf16`; paged 8; in 8 bits 2.03; Lion 4, in 8 bits
    1.02; SGD those of a weight, or none without momentum; Adafactor a row and a column for each matrix,
    in the weights' dtype. bitsandbytes' are the same in every precision regime.

    All but `adamw` make the host wait for the device once in a step, to hear whether its gradients are
    finite.
    """

    Config: ClassVar[type[PluginConfig]] = OptimizersConfig
    # An optimizer cannot go on with the states of another.
    forbidden_on_resume = ("enabled", "name")
    choices = tuple(
        Choice("optimizer", name, {"name": name}, needs_cuda=fnmatchcase(name, PAGED))
        for name in OPTIONS
    )
    refuses = (
        Refusal(
            {"optimizer": BITSANDBYTES, "engine": "fsdp-*"},
            "bitsandbytes does not know FSDP's distributed tensors",
            "Use 'adamw' or 'sgd'.",
            _USE_ADAMW,
        ),
        Refusal(
            {"optimizer": "adafactor", "engine": "fsdp-*"},
            "it needs norms of whole rows, columns and tensors, and each rank holds a part of them",
            "Use 'adamw' or 'sgd'.",
            _USE_ADAMW,
        ),
        Refusal(
            {"optimizer": ("adafactor", "*_8bit", PAGED), "engine": "zero-*"},
            "ZeRO updates flat pieces of many weights, in which its rows, blocks or pages mean nothing",
            "Use 'adamw', 'sgd' or 'lion'.",
            _USE_ADAMW,
        ),
        Refusal(
            {"optimizer": NOT_ADAMW, "offload": ("cpu", "nvme")},
            "what is offloaded is updated by the CPU, which is made and tested for AdamW only",
            "Use 'adamw', or take out the offload.",
            _USE_ADAMW,
        ),
        Refusal(
            {"optimizer": NOT_ADAMW, "precision": "bf16_fp32_states"},
            "the regime is AdamW's with float32 moments beside bfloat16 weights",
            "Use 'adamw', or train.precision = 'bf16', where each optimizer has its own dtypes.",
            _USE_ADAMW,
        ),
    )

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """An option that another optimizer takes would be read by nothing."""
        name, given = self.config.name, self.config.model_dump(exclude={"name"}, exclude_none=True)
        problems = [
            Problem(
                key=f"plugins.optimizers.{option}",
                message=f"{name!r} does not take it, but {one_of(map(repr, takers(option)))} would.",
                hint=f"{name!r} takes {' and '.join(OPTIONS[name])}.",
                fix=Fix(action="unset", key=f"plugins.optimizers.{option}"),
            )
            for option in given
            if option not in OPTIONS[name]
        ]
        if name == "sgd" and self.config.nesterov and self.config.momentum == 0:
            problems.append(
                Problem(
                    key="plugins.optimizers.nesterov",
                    message="there is nothing to look ahead by: momentum is 0.",
                    hint="Leave momentum at 0.9, or take out nesterov.",
                    fix=Fix(action="unset", key="plugins.optimizers.nesterov"),
                )
            )
        return problems

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        from stoker_plugins.optimizers.estimates import optimizer_facts

        return {"optimizer": optimizer_facts(self.config, situation)}

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` for what this machine lacks, before anything is loaded."""
        name = self.config.name
        if _matches(name, BITSANDBYTES) and find_spec("bitsandbytes") is None:
            raise MissingRequirementError(
                f"optimizer {name!r} needs the package bitsandbytes, which is not installed.",
                hint="Run: pip install 'stoker[qlora]'",
            )
        if fnmatchcase(name, PAGED):
            from stoker_plugins.optimizers.making import require_cuda

            require_cuda(name)

    @hookimpl
    def make_optimizer(self, run: Run, parameter_groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        from stoker_plugins.optimizers.making import make

        return make(self.config, parameter_groups, run.engine.regime)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
