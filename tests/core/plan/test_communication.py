"""Bytes between ranks, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.plan.architecture import read_architecture
from stoker.plan.communication import (
    HOST_MEMORY_BANDWIDTH,
    NETWORK_SHARE,
    NVLINK_SHARE,
    PCIE_SHARE,
    WITHOUT_PEERS_SHARE,
    Traffic,
    count_traffic,
)
from stoker.plan.facts import Adapter, Checkpointing, Facts, Optimizer, Sharding
from stoker.plan.flops import count_work
from stoker.plan.gpus import find_gpu
from stoker.plan.models import find_model_config
from stoker.plan.situation import MicroBatch, Situation

LLAMA = read_architecture(find_model_config("llama-3-8b"))
P = 8_030_261_248
NVLINK = 450e9 * NVLINK_SHARE


def traffic(facts: Facts, **changes: Any) -> Traffic:
    batch = MicroBatch(2, 4096, 2 * 4096, 4096)
    situation = Situation(LLAMA, "bf16_mixed", batch, find_gpu("h100-80gb"), ranks=8)
    situation = replace(situation, **changes)
    return count_traffic(situation, facts, count_work(situation, facts))


def test_one_device_exchanges_nothing() -> None:
    found = traffic(Facts(), ranks=1)
    assert (found.micro_batch, found.step, found.host_micro_batch, found.host_step) == (0, 0, 0, 0)


def test_replicas_sum_their_gradients_once_a_step() -> None:
    found = traffic(Facts())
    assert found.micro_batch == 0
    assert found.step == pytest.approx(2 * 4 * P * 7 / 8 / NVLINK)


def test_sharded_weights_are_gathered_twice_and_gradients_scattered_in_every_micro_batch() -> None:
    facts = Facts(
        sharding=Sharding(
            weights_over=8,
            gradients_over=8,
            states_over=8,
            gradient_bytes=2,
            gathers="twice",
            reduces_each_micro_batch=True,
        )
    )
    found = traffic(facts)
    assert found.micro_batch == pytest.approx(3 * 2 * P * 7 / 8 / NVLINK)
    assert found.step == 0


def test_sharded_states_spread_the_updated_weights() -> None:
    found = traffic(Facts(sharding=Sharding(states_over=8)))
    assert found.step == pytest.approx((2 * 4 + 2) * P * 7 / 8 / NVLINK)


def test_an_adapter_sends_its_own_gradients_only() -> None:
    assert traffic(Facts(adapter=Adapter(16))).step < traffic(Facts()).step / 100


def test_between_nodes_all_network_cards_of_a_node_work_together() -> None:
    found = traffic(Facts(), ranks=16, nodes=2, gpu=find_gpu("a100-80gb"))
    bandwidth = 8 * 25e9 * NETWORK_SHARE
    assert found.step == pytest.approx(2 * 4 * P * 15 / 16 / bandwidth)


def test_groups_within_a_node_reduce_their_shards_between_nodes() -> None:
    facts = Facts(sharding=Sharding(weights_over=8, gradients_over=8, states_over=8, replicas=2))
    found = traffic(facts, ranks=16, nodes=2)
    inside = 4 * P * 7 / 8 / NVLINK
    between = 2 * 4 * P / 8 / 2 / (50e9 * NETWORK_SHARE)
    assert found.step == pytest.approx(inside + between)


def test_cards_that_may_not_read_each_other_take_twice_as_long() -> None:
    found = traffic(Facts(), gpu=find_gpu("rtx-4090"))
    assert found.step == pytest.approx(2 * 4 * P * 7 / 8 / (32e9 * PCIE_SHARE * WITHOUT_PEERS_SHARE))


def test_offloaded_states_cost_the_bus_and_the_hosts_memory() -> None:
    facts = Facts(sharding=Sharding(gradients_over=8, states_over=8, optimizer_on="host"))
    found = traffic(facts)
    bus = P / 8 * (4 + 2) / (64e9 * PCIE_SHARE)
    assert found.host_step == pytest.approx(bus + P * 28 / HOST_MEMORY_BANDWIDTH)


def test_paged_states_come_and_go_once_a_step() -> None:
    found = traffic(Facts(optimizer=Optimizer(paged=True)), ranks=1)
    assert found.host_step == pytest.approx(2 * 2 * 4 * P / (64e9 * PCIE_SHARE))


def test_moved_activations_cost_the_bus_in_both_directions() -> None:
    found = traffic(Facts(checkpointing=Checkpointing("full", inputs_on_host=True)), ranks=1)
    assert found.host_micro_batch == pytest.approx(2 * 32 * 4096 * 8192 * 2 / (64e9 * PCIE_SHARE))
    assert (
        traffic(Facts(checkpointing=Checkpointing("offload"))).host_micro_batch > found.host_micro_batch
    )
