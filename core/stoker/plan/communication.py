"""Bytes that ranks exchange, and bytes that go to the host and back, as seconds.

Rings: a gather or a reduction over n ranks moves (n - 1) / n of the whole through every rank, an
all-reduce twice that (Patarasuk and Yuan 2009). A group that spans nodes runs one ring for each network
card, so a rank sees all cards of its node together, but never more than its own link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.plan.trained import inventory_of

if TYPE_CHECKING:
    from stoker.plan.facts import Facts
    from stoker.plan.flops import Work
    from stoker.plan.situation import Situation

NVLINK_SHARE = 0.8
"""Of the link's rate, in large collectives over NVLink."""
PCIE_SHARE = 0.63
"""About 20 of the 32 GB/s of PCIe 4."""
NETWORK_SHARE = 0.8
WITHOUT_PEERS_SHARE = 0.5
"""Where cards may not read each other, every byte goes through host memory: twice over the bus."""
HOST_MEMORY_BANDWIDTH = 204.8e9
"""Bytes a second of a node: one socket with eight channels of DDR4-3200. Its ranks share it."""
NVME_BANDWIDTH = 5e9
"""Bytes a second of a node: one drive on four lanes of PCIe 4, between reading and writing."""
_ADAM_BYTES = 28
"""Per element on the host: weight and two moments read and written, the gradient read, all in fp32."""


@dataclass(frozen=True)
class Traffic:
    """Seconds of one rank."""

    micro_batch: float
    """Exchanges that happen in every micro-batch, beside its computation."""
    step: float
    """Exchanges once a step, beside the last backward."""
    first_and_last: float
    """The part of a micro-batch's exchanges that no computation can hide."""
    host_micro_batch: float
    """Activations and weights to the host and back in every micro-batch."""
    host_step: float
    """Gradients, update and weights on the host, once a step; nothing else happens meanwhile."""


def count_traffic(situation: Situation, facts: Facts, work: Work) -> Traffic:
    """What the engine's facts make of a step. All zero on one device without offload."""
    sharding, ranks = facts.sharding, situation.ranks
    inventory = inventory_of(situation.architecture, facts)
    trained = inventory.trained
    weight_bytes = (trained + inventory.frozen) * float(situation.compute_bytes)
    if facts.quantized:
        weight_bytes += inventory.quantized * facts.quantized.bytes_per_weight
    gathers = {"never": 0, "until_backward": 1, "twice": 2}[sharding.gathers]
    gather = gathers * _ring(situation, weight_bytes, sharding.weights_over)
    reduction, update = _gradient_seconds(situation, facts, trained)
    each, once = (reduction, 0.0) if sharding.reduces_each_micro_batch else (0.0, reduction)
    parts = max(1, situation.architecture.num_layers)
    return Traffic(
        micro_batch=gather + each,
        step=once + update if ranks > 1 else 0.0,
        first_and_last=(gather + each) / parts,
        host_micro_batch=_host_micro_batch(situation, facts, work, weight_bytes),
        host_step=_host_step(situation, facts, trained),
    )


def _gradient_seconds(situation: Situation, facts: Facts, trained: int) -> tuple[float, float]:
    """Reducing gradients, and spreading updated weights where states are sharded but weights are not."""
    sharding, ranks = facts.sharding, situation.ranks
    if ranks == 1:
        return 0.0, 0.0
    gradient_bytes = trained * (sharding.gradient_bytes or situation.master_bytes)
    if sharding.gradients_over > 1:
        reduction = _ring(situation, gradient_bytes, sharding.gradients_over)
        replicas = max(1, ranks // sharding.gradients_over)
        shard = gradient_bytes / sharding.gradients_over
        reduction += 2 * _ring(situation, shard, replicas, across_nodes=situation.nodes > 1)
    else:
        reduction = 2 * _ring(situation, gradient_bytes, ranks)
    update = 0.0
    if sharding.states_over > 1 and sharding.weights_over == 1:
        weight_bytes = trained * (sharding.weight_bytes or situation.compute_bytes)
        update = _ring(situation, weight_bytes, sharding.states_over)
    return reduction, update


def _ring(situation: Situation, size: float, ranks: int, *, across_nodes: bool = False) -> float:
    """Seconds of one gather or reduction of `size` bytes over `ranks`; `across_nodes`: one a node."""
    if ranks <= 1:
        return 0.0
    gpu = situation.gpu
    is_nvlink = gpu.link_bandwidth > gpu.host_bandwidth
    bandwidth = gpu.link_bandwidth * (NVLINK_SHARE if is_nvlink else PCIE_SHARE)
    if not gpu.peer_to_peer:
        bandwidth *= WITHOUT_PEERS_SHARE
    if across_nodes:
        bandwidth = min(bandwidth, gpu.network_bandwidth * NETWORK_SHARE)
    elif ranks > situation.ranks_per_node:
        cards = gpu.network_bandwidth * situation.ranks_per_node
        bandwidth = min(bandwidth, cards * NETWORK_SHARE)
    return size * (ranks - 1) / ranks / bandwidth


def _host_micro_batch(situation: Situation, facts: Facts, work: Work, weight_bytes: float) -> float:
    bandwidth = situation.gpu.host_bandwidth * PCIE_SHARE
    seconds = 0.0
    if facts.checkpointing.mode == "offload":
        seconds += (
            2 * work.moved_bytes / 3 / bandwidth
        )  # of one pass: out after forward, in for backward
    elif facts.checkpointing.inputs_on_host:
        architecture = situation.architecture
        inputs = architecture.num_layers * architecture.hidden_size / facts.checkpointing.every
        seconds += 2 * inputs * situation.micro_batch.tokens * situation.compute_bytes / bandwidth
    if facts.sharding.weights_on != "device":
        passes = 2 if facts.sharding.gathers == "twice" else 1
        own = passes * weight_bytes / max(1, facts.sharding.weights_over)
        seconds += own / bandwidth
        if facts.sharding.weights_on == "nvme":
            seconds += own * situation.ranks_per_node / NVME_BANDWIDTH
    return seconds


def _host_step(situation: Situation, facts: Facts, trained: int) -> float:
    """Gradients down, Adam on the processor, weights up; states from NVMe and back before and after."""
    sharding, optimizer = facts.sharding, facts.optimizer
    own = trained / max(1, sharding.states_over)
    if sharding.optimizer_on == "device":
        if not optimizer.paged:
            return 0.0
        item = situation.state_bytes if optimizer.moment_bytes is None else optimizer.moment_bytes
        moved = 2 * own * optimizer.moments * item  # pages come and go once a step
        return moved / (situation.gpu.host_bandwidth * PCIE_SHARE)
    moved = own * ((sharding.gradient_bytes or situation.master_bytes) + situation.compute_bytes)
    seconds = moved / (situation.gpu.host_bandwidth * PCIE_SHARE)
    on_node = own * situation.ranks_per_node
    seconds += on_node * _ADAM_BYTES / HOST_MEMORY_BANDWIDTH
    if sharding.optimizer_on == "nvme":
        seconds += on_node * 2 * 12 / NVME_BANDWIDTH  # master weight and two moments, in and out
    return seconds
