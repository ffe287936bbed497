"""ZeRO: shards optimizer states, gradients and weights over the ranks, through DeepSpeed.

Rajbhandari et al. 2020 (ZeRO), Ren et al. 2021 (offload to the host), Rajbhandari et al. 2021 (NVMe).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal
from stoker.recipe.problems import Fix

if TYPE_CHECKING:
    from stoker.plan.situation import Situation
    from stoker.recipe.model import Recipe
    from stoker.recipe.problems import Problem
    from stoker.run.context import Outcome, Run
    from stoker.train.engine import Engine

Offload = Literal["none", "cpu", "nvme"]


class ZeroConfig(PluginConfig):
    """What is sharded, where it is kept, and how much is moved at once. An element is one number."""

    stage: Literal[1, 2, 3] = Field(
        default=2,
        description="1 shards optimizer states, 2 gradients too, 3 weights too.",
    )
    offload_optimizer: Offload = Field(
        default="none",
        description="Where master weights and optimizer states live, and are updated by the CPU: "
        "`cpu` is host memory, `nvme` files in `nvme_path` (stage 3 only).",
    )
    offload_parameters: Offload = Field(
        default="none",
        description="Where sharded weights wait until they are used; stage 3 only.",
    )
    nvme_path: Path | None = Field(
        default=None, description="Directory on a fast local disk for what is offloaded to `nvme`."
    )
    pin_memory: bool = Field(
        default=True,
        description="Page-lock host memory that a GPU copies from and to: faster, never swapped out.",
    )
    optimizer_buffer_count: int = Field(
        default=4,
        ge=4,
        description="Host buffers for optimizer states on NVMe, each as large as a sub-group's part; "
        "AdamW uses four.",
    )
    parameter_buffer_count: int = Field(
        default=5,
        ge=2,
        description="Host buffers for weights on NVMe: how many are read ahead or in use at a time.",
    )
    parameter_buffer_elements: int | None = Field(
        default=None,
        ge=1,
        description="Elements of such a buffer; default: as many as the largest weight needs.",
    )
    parameters_in_host_elements: int = Field(
        default=0,
        ge=0,
        description="With weights on NVMe: elements on each rank that stay in host memory all the same.",
    )
    sub_group_elements: int = Field(
        default=100_000_000,
        ge=1,
        description="At stage 3, elements that a rank updates, and moves from NVMe, at a time.",
    )
    reduce_bucket_elements: int = Field(
        default=50_000_000, ge=1, description="Gradient elements that are reduced at a time."
    )
    allgather_bucket_elements: int = Field(
        default=50_000_000,
        ge=2,
        multiple_of=2,
        description="At stages 1 and 2, elements of updated weights that are gathered at a time.",
    )
    prefetch_bucket_elements: int = Field(
        default=50_000_000, ge=0, description="At stage 3, weight elements that are gathered ahead."
    )
    persistence_threshold_elements: int = Field(
        default=100_000,
        ge=0,
        description="At stage 3, weights with fewer elements than this stay whole on every rank.",
    )
    overlap_communication: bool = Field(
        default=True, description="Reduce gradients while backward goes on; takes a second bucket."
    )
    config: dict[str, Any] = Field(
        default={},
        description="Other entries of DeepSpeed's own configuration, such as `aio`; what the recipe or "
        "an option above decides is refused.",
    )


class Zero(Plugin[ZeroConfig]):
    """Train with DeepSpeed's ZeRO stages 1, 2 and 3, with offload to host memory and NVMe.

    Weights are kept in the compute dtype; gradients are summed, and master weights and states kept, in
    float32. Per trainable parameter `bf16_mixed` takes 2 bytes for the weight, 4 for its gradient and
    12 for the rest: stage 1 divides the 12 by the number of ranks, stage 2 the 4 too, stage 3 all.
    """

    Config: ClassVar[type[PluginConfig]] = ZeroConfig
    safe_on_resume = (
        "nvme_path",
        "pin_memory",
        "optimizer_buffer_count",
        "parameter_buffer_count",
        "parameter_buffer_elements",
        "parameters_in_host_elements",
        "prefetch_bucket_elements",
    )
    provides = ("engine",)
    choices = (
        # DeepSpeed does not run on FakeTensor.
        Choice("engine", "zero-1", {"stage": 1}, needs_memory=True),
        Choice("engine", "zero-2", {"stage": 2}, needs_memory=True),
        Choice("engine", "zero-3", {"stage": 3}, implies={"weights": "sharded"}, needs_memory=True),
        # Of two that fit, the first counts: weights in host memory, states on NVMe, say.
        Choice("offload", "nvme", {"offload_optimizer": "nvme"}, example={"nvme_path": "{folder}"}),
        Choice("offload", "nvme", {"offload_parameters": "nvme"}, example={"nvme_path": "{folder}"}),
        Choice("offload", "cpu", {"offload_optimizer": "cpu"}),
        Choice("offload", "cpu", {"offload_parameters": "cpu"}),
    )
    refuses = (
        Refusal(
            {"engine": ("zero-1", "zero-2"), "offload": "nvme"},
            "DeepSpeed moves tensors to NVMe at stage 3 only.",
            "Set plugins.zero.stage = 3, or offload to 'cpu'.",
            Fix(action="set", key="plugins.zero.stage", value=3),
        ),
        Refusal(
            {"engine": "zero-*", "quantization": ("nf4", "fp4")},
            "DeepSpeed converts every frozen weight to the compute dtype, which undoes the packing.",
            "Use the default engine, or LoRA on unquantized weights.",
        ),
        Refusal(
            {"engine": "zero-*", "precision": ("bf16", "bf16_fp32_states")},
            "ZeRO is set up to keep float32 master weights, which these regimes do without.",
            "Set train.precision = 'bf16_mixed': sharded, its master weights are small.",
        ),
        Refusal(
            {"engine": "zero-*", "precision": "fp16_mixed"},
            "DeepSpeed refuses float16 weights on CPUs without float16 arithmetic, so this is untested.",
            "Set train.precision = 'bf16_mixed' or 'fp32', or use fsdp.",
        ),
    )

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """Options that contradict each other, the recipe, or this machine's disks."""
        from stoker_plugins.zero.checks import option_problems

        return option_problems(self.config)

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        from stoker_plugins.zero.estimates import sharding_facts

        return sharding_facts(self.config, situation)

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Raises `MissingRequirementError` before anything is loaded; compiles what has to be."""
        from stoker_plugins.zero.requirements import require_deepspeed, require_libaio

        require_deepspeed()
        if "nvme" in (self.config.offload_optimizer, self.config.offload_parameters):
            require_libaio()
        from stoker_plugins.zero.extensions import build_extensions

        build_extensions(run, self.config)

    @hookimpl
    def make_engine(self, run: Run) -> Engine:
        from stoker_plugins.zero.engine import ZeroEngine

        self._engine = ZeroEngine(run, self.config)
        return self._engine

    @hookimpl
    def on_run_end(self, run: Run, outcome: Outcome) -> None:
        self._close()

    @hookimpl
    def on_exception(self, run: Run, error: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.close()
