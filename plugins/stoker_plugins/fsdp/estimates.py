"""What FSDP shards and gathers, in the words of `stoker.plan.facts`. Without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.plan.facts import Place, Sharding
from stoker_plugins.fsdp.layout import Layout

if TYPE_CHECKING:
    from stoker.plan.situation import Situation
    from stoker_plugins.fsdp import FsdpConfig


def sharding_facts(config: FsdpConfig, situation: Situation) -> Sharding:
    """The facts of the engine. Raises `PluginError` for ranks that cannot be divided as asked."""
    layout = Layout.of(config, situation.ranks, situation.ranks_per_node)
    where: Place = "host" if config.cpu_offload else "device"
    stated = config.reshard_after_forward
    frees = config.strategy != "SHARD_GRAD_OP" if stated is None else bool(stated)
    return Sharding(
        name=f"fsdp-{config.strategy.lower()}",
        weights_over=layout.num_shards,
        by_rows=True,
        gradients_over=layout.num_shards,
        states_over=layout.num_shards,
        casts=False,
        gathers="twice" if frees else "until_backward",
        gathered_parts=1 + config.prefetch,
        reduces_each_micro_batch=config.reduce_gradients == "every_micro_batch",
        optimizer_on=where,
        weights_on=where,
        gradients_on=where,
        replicas=layout.num_replicas,
    )
