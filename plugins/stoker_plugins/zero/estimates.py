"""What DeepSpeed shards, keeps and moves, in the words of `stoker.plan.facts`. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stoker.plan.facts import Place, Sharding

if TYPE_CHECKING:
    from stoker.plan.situation import Situation
    from stoker_plugins.zero import Offload, ZeroConfig

_FLOAT32, _FLOAT64 = 4, 8
_PLACES: Mapping[Offload, Place] = {"none": "device", "cpu": "host", "nvme": "nvme"}

_REUSE_ELEMENTS = 1e9
"""`stage3_max_reuse_distance`, by DeepSpeed's default."""

_ALL_REDUCED_AT_ONCE = 5e8
"""`elements_per_buffer` of DeepSpeed's `buffered_allreduce_fallback`."""


def sharding_facts(config: ZeroConfig, situation: Situation) -> Mapping[str, Any]:
    """The facts of the engine, as DeepSpeed 0.19 has them."""
    ranks, stage = situation.ranks, config.stage
    facts = {
        "name": f"zero-{stage}",
        "states_over": ranks,
        "weight_bytes": situation.compute_bytes,
        # In host memory once for the reduction and once for the update.
        "gradient_bytes": _FLOAT32 if config.offload_optimizer == "none" else 2 * _FLOAT32,
        "master_bytes": _FLOAT32,
        "state_bytes": _FLOAT32,
        "casts": False,
        "reduces_each_micro_batch": stage >= 2,
        "optimizer_on": _PLACES[config.offload_optimizer],
        "weights_on": _PLACES[config.offload_parameters],
        "gradients_on": "device" if config.offload_optimizer == "none" else "host",
        **_STAGES[stage](config, situation),
    }
    said: dict[str, Any] = {"sharding": Sharding(**facts)}
    if stage == 3:
        said["buffers.reduce_bucket"] = float(_FLOAT32 * config.reduce_bucket_elements)
    return said


def _whole_weights(config: ZeroConfig, situation: Situation) -> dict[str, Any]:
    """Stages 1 and 2."""
    if config.stage == 1 and situation.compute_bytes < _FLOAT32 and config.offload_optimizer == "none":
        # DeepSpeed's BF16_Optimizer: all gradients in float32, for good.
        return {"gradients_live": "always", "last_copy_elements": _ALL_REDUCED_AT_ONCE}
    keeps_states = config.offload_optimizer == "none"
    flattens = situation.compute_bytes == _FLOAT32
    return {
        "gradients_live": "from_backward",
        "gradients_over": situation.ranks,
        "buckets": 2 if config.overlap_communication else 1,
        "bucket_elements": config.reduce_bucket_elements,
        "norm_bytes": _FLOAT64,
        "transfer_bytes": 0 if keeps_states else situation.compute_bytes,
        # In host memory also the weights as they will go back to the device.
        "master_bytes": _FLOAT32 + (0 if keeps_states else situation.compute_bytes),
        "update_copy_bytes": _FLOAT32 if flattens else 0,
    }


def _sharded_weights(config: ZeroConfig, situation: Situation) -> dict[str, Any]:
    """Stage 3 gathers a layer's weights, and keeps those that it needs again soon."""
    nothing_stays = config.offload_parameters == "nvme"
    return {
        "gradients_live": "always",
        "weights_over": situation.ranks,
        "whole_below": config.persistence_threshold_elements if situation.ranks > 1 else 0,
        "gradients_over": situation.ranks,
        "gathers": "twice",
        "fetched_elements": float(config.prefetch_bucket_elements),
        "reuse_elements": 0.0 if nothing_stays else _REUSE_ELEMENTS,
        "update_copy_bytes": _FLOAT32,
        "update_copy_elements": float(config.sub_group_elements),
    }


_STAGES = {1: _whole_weights, 2: _whole_weights, 3: _sharded_weights}
