"""FSDP: shards weights, gradients and optimizer states with torch's `fully_shard`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.capabilities import Choice, Refusal
from stoker.recipe.problems import Fix, Problem
from stoker_plugins.fsdp.layout import Layout

if TYPE_CHECKING:
    from stoker.plan.situation import Situation
    from stoker.recipe.model import Recipe
    from stoker.run.context import Run
    from stoker.train.engine import Engine


class FsdpConfig(PluginConfig):
    """What is sharded over which ranks, and how communication is traded for memory."""

    strategy: Literal["FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_SHARD", "NO_SHARD"] = Field(
        default="FULL_SHARD",
        description="FULL_SHARD gathers a block's weights for its forward and again for its backward; "
        "SHARD_GRAD_OP keeps them gathered in between; HYBRID_SHARD shards within groups of "
        "`shard_size` ranks and replicates over the groups; NO_SHARD replicates over all ranks.",
    )
    shard_size: int | None = Field(
        default=None,
        ge=1,
        description="HYBRID_SHARD: ranks that share one copy of the weights. Unset: a node's.",
    )
    reshard_after_forward: bool | Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description="Overrides the strategy: `true` frees a block's gathered weights after its "
        "forward, `false` keeps them until its backward, a number keeps them sharded over so many "
        "ranks meanwhile.",
    )
    cpu_offload: bool = Field(
        default=False,
        description="Keep weights, gradients and optimizer states in host memory and update there.",
    )
    pin_memory: bool = Field(
        default=True,
        description="With `cpu_offload` on CUDA: page-locked host memory, for copies that overlap.",
    )
    prefetch: int = Field(
        default=1,
        ge=1,
        description="Blocks whose weights are gathered ahead, in forward and in backward.",
    )
    block_class: str | None = Field(
        default=None,
        description="Class name of the modules to shard one by one. Unset: the model's own blocks.",
    )
    reduce_gradients: Literal["every_micro_batch", "last_micro_batch"] = Field(
        default="every_micro_batch",
        description="`every_micro_batch` keeps sharded gradients only; `last_micro_batch` communicates "
        "less but accumulates whole gradients on every rank; every parameter must be used in every "
        "micro-batch then, unlike experts that are modules of their own.",
    )


class Fsdp(Plugin[FsdpConfig]):
    """Train with torch's FSDP2; the same code on CPU (gloo) and CUDA (NCCL)."""

    Config: ClassVar[type[PluginConfig]] = FsdpConfig
    safe_on_resume = ("pin_memory", "prefetch")
    provides = ("engine",)
    # SHARD_GRAD_OP too: outside of forward and backward a rank holds its part of the weights only.
    choices = (
        Choice("engine", "fsdp-full_shard", {"strategy": "FULL_SHARD"}, {"weights": "gathered"}),
        Choice("engine", "fsdp-shard_grad_op", {"strategy": "SHARD_GRAD_OP"}, {"weights": "gathered"}),
        Choice("engine", "fsdp-hybrid_shard", {"strategy": "HYBRID_SHARD"}, {"weights": "gathered"}),
        Choice("engine", "fsdp-no_shard", {"strategy": "NO_SHARD"}, {"weights": "whole"}),
        Choice("offload", "cpu", {"cpu_offload": True}),
    )
    refuses = (
        Refusal(
            {"engine": "fsdp-*", "quantization": ("nf4", "fp4")},
            "4-bit weights are packed as they are loaded, after FSDP has cut the parameters.",
            "Train quantized bases with the default engine, or take the quantization out.",
        ),
    )

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """Ranks that cannot be divided as asked, where the recipe says how many there are."""
        if self.config.shard_size is not None and self.config.strategy != "HYBRID_SHARD":
            return [
                Problem(
                    key="plugins.fsdp.shard_size",
                    message=f"{self.config.strategy} has no groups of ranks to size.",
                    hint="Set strategy to 'HYBRID_SHARD', or take shard_size out.",
                    fix=Fix(action="unset", key="plugins.fsdp.shard_size"),
                )
            ]
        ranks_per_node, nodes = recipe.launch.gpus_per_node, recipe.launch.nodes
        if ranks_per_node * nodes == 1:
            return []  # torchrun and its like say how many ranks there are
        problem = Layout.problem(self.config, ranks_per_node * nodes, ranks_per_node)
        return [problem] if problem else []

    @hookimpl
    def collect_estimates(self, situation: Situation) -> Mapping[str, Any]:
        """Raises `PluginError` for ranks that cannot be divided as asked."""
        from stoker_plugins.fsdp.estimates import sharding_facts

        return {"sharding": sharding_facts(self.config, situation)}

    @hookimpl
    def make_engine(self, run: Run) -> Engine:
        from stoker_plugins.fsdp.engine import FsdpEngine

        return FsdpEngine(run, self.config)
