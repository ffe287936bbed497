"""Which ranks share one copy of the weights. Without torch, so that `check` can ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.errors import PluginError
from stoker.recipe.problems import Fix, Problem

if TYPE_CHECKING:
    from stoker_plugins.fsdp import FsdpConfig


@dataclass(frozen=True)
class Layout:
    """`num_replicas` groups of `num_shards` consecutive ranks; each group holds one copy."""

    num_replicas: int
    num_shards: int

    @classmethod
    def of(cls, config: FsdpConfig, world_size: int, ranks_per_node: int) -> Layout:
        """The layout that a strategy asks for. Raises `PluginError` where there is none."""
        if problem := cls.problem(config, world_size, ranks_per_node):
            raise PluginError(f"{problem.key}: {problem.message}", hint=problem.hint)
        num_shards = _group_size(config, world_size, ranks_per_node)
        return cls(world_size // num_shards, num_shards)

    @staticmethod
    def problem(config: FsdpConfig, world_size: int, ranks_per_node: int) -> Problem | None:
        """Why these ranks cannot be divided as asked, if so."""
        num_shards = _group_size(config, world_size, ranks_per_node)
        if world_size % num_shards:
            return Problem(
                key="plugins.fsdp.shard_size",
                message=f"groups of {num_shards} ranks do not divide {world_size} ranks.",
                hint=f"Choose one of {_divisors(world_size)}.",
                fix=_divisor_fix("plugins.fsdp.shard_size", num_shards, world_size),
            )
        kept = config.reshard_after_forward
        if kept is None or isinstance(kept, bool) or num_shards % kept == 0:
            return None
        return Problem(
            key="plugins.fsdp.reshard_after_forward",
            message=f"{kept} does not divide the {num_shards} ranks that share one copy.",
            hint=f"Choose true, false or one of {_divisors(num_shards)}.",
            fix=_divisor_fix("plugins.fsdp.reshard_after_forward", kept, num_shards),
        )

    def notes(self, strategy: str) -> list[str]:
        """What a user may not expect of the strategy on these ranks."""
        if self.num_shards == 1 and strategy != "NO_SHARD":
            return [f"fsdp: {strategy} over one rank shards nothing: every rank holds the whole model."]
        if strategy == "HYBRID_SHARD" and self.num_replicas == 1:
            return ["fsdp: all ranks are in one group, so HYBRID_SHARD does what FULL_SHARD does."]
        return []


def _group_size(config: FsdpConfig, world_size: int, ranks_per_node: int) -> int:
    if config.strategy == "NO_SHARD":
        return 1
    if config.strategy == "HYBRID_SHARD":
        return config.shard_size or min(ranks_per_node, world_size)
    return world_size


def _divisors(number: int) -> str:
    return ", ".join(str(size) for size in range(1, number + 1) if number % size == 0)


def _divisor_fix(key: str, found: int, number: int) -> Fix:
    """The divisor next to what was found."""
    divisors = [size for size in range(1, number + 1) if number % size == 0]
    return Fix(action="set", key=key, value=min(divisors, key=lambda each: abs(each - found)))
