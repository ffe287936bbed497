"""Estimates of memory: sizes that can be counted by hand, and how fast they come."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.facts import Adapter, Checkpointing, Facts, Optimizer, Quantized, Sharding
from stoker.plan.gpus import find_gpu
from stoker.plan.memory import COMPONENTS, MOMENTS, MemoryEstimate, estimate_memory
from stoker.plan.situation import REGIME_BYTES, MicroBatch, Situation

LLAMA_8B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
SIZE = 8_030_261_248
CUT = Sharding(
    name="fsdp-full_shard",
    weights_over=8,
    gradients_over=8,
    states_over=8,
    by_rows=True,
    casts=False,
    gathers="twice",
)


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return read_architecture(LLAMA_8B)


def situation(architecture: Architecture, **changes: Any) -> Situation:
    batch = MicroBatch(rows=1, positions=2048, supervised=2000, longest_document=2048)
    plain = Situation(architecture, "bf16_mixed", batch, find_gpu("h100-80gb"))
    return replace(plain, **changes)


def at_update(estimate: MemoryEstimate) -> dict[str, float]:
    return dict(estimate.moments["update"])


def test_every_moment_has_every_component(architecture: Architecture) -> None:
    estimate = estimate_memory(situation(architecture), Facts())

    assert tuple(estimate.moments) == MOMENTS
    assert all(tuple(moment) == COMPONENTS for moment in estimate.moments.values())


@pytest.mark.parametrize("precision", REGIME_BYTES)
def test_states_are_those_of_the_regime(architecture: Architecture, precision: str) -> None:
    held = at_update(estimate_memory(situation(architecture, precision=precision), Facts()))
    master, _, state = REGIME_BYTES[precision]

    assert held["weights"] == held["gradients"] == SIZE * master
    assert held["optimizer"] == 2 * SIZE * state


def test_eight_ranks_hold_an_eighth_each_and_fit(architecture: Architecture) -> None:
    facts = Facts(sharding=CUT, checkpointing=Checkpointing("full"))
    alone = estimate_memory(situation(architecture), replace(facts, sharding=Sharding()))
    shared = estimate_memory(situation(architecture, ranks=8), facts)

    assert at_update(shared)["optimizer"] == pytest.approx(SIZE)
    assert not alone.fits
    assert shared.fits


def test_an_adapter_trains_its_own_parameters_only(architecture: Architecture) -> None:
    held = at_update(estimate_memory(situation(architecture), Facts(adapter=Adapter(16))))
    # q and o, k and v, gate and up and down: inputs and outputs of 32 layers.
    adapter = 32 * 16 * (2 * 8192 + 2 * 5120 + 3 * 18432)

    assert held["gradients"] == 4 * adapter
    assert held["weights"] == 2 * SIZE + 4 * adapter


def test_four_bits_are_of_linear_layers_without_the_head(architecture: Architecture) -> None:
    facts = Facts(adapter=Adapter(16), quantized=Quantized(bytes_per_weight=0.5, block=64))
    whole = at_update(estimate_memory(situation(architecture), replace(facts, quantized=None)))
    packed = at_update(estimate_memory(situation(architecture), facts))
    layers = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)

    assert whole["weights"] - packed["weights"] == layers * 1.5


def test_what_is_frozen_has_neither_gradient_nor_state(architecture: Architecture) -> None:
    facts = Facts(frozen=("model.*",), trained=("model.norm.*",))
    held = at_update(estimate_memory(situation(architecture), facts))

    assert held["gradients"] == 4 * (128256 * 4096 + 4096)


def test_recomputation_keeps_less_and_offloading_keeps_it_elsewhere(architecture: Architecture) -> None:
    def activations(checkpointing: Checkpointing) -> float:
        facts = Facts(checkpointing=checkpointing)
        return estimate_memory(situation(architecture), facts).moments["loss"]["activations"]

    none, full = activations(Checkpointing()), activations(Checkpointing("full"))
    selective, offload = activations(Checkpointing("selective")), activations(Checkpointing("offload"))
    assert offload < full < selective < none
    on_host = estimate_memory(situation(architecture), Facts(checkpointing=Checkpointing("offload")))
    assert on_host.host_bytes > none / 2


def test_states_in_eight_bits_keep_scales_and_small_tensors(architecture: Architecture) -> None:
    optimizer = Optimizer("adamw_8bit", 2, moment_bytes=1, scale_block=256, smallest_quantized=5000)
    held = at_update(estimate_memory(situation(architecture), Facts(optimizer=optimizer)))
    norms = 65 * 4096

    assert held["optimizer"] == pytest.approx(2 * ((SIZE - norms) * (1 + 4 / 256) + norms * 4))


def test_offloaded_states_are_the_hosts_except_on_a_cpu(architecture: Architecture) -> None:
    facts = Facts(sharding=replace(CUT, optimizer_on="host"))
    on_gpu = estimate_memory(situation(architecture, ranks=8), facts)
    on_cpu = estimate_memory(situation(architecture, ranks=8, gpu=find_gpu("cpu")), facts)

    assert at_update(on_gpu)["optimizer"] == 0
    assert on_gpu.host_bytes == pytest.approx(SIZE)
    assert at_update(on_cpu)["optimizer"] == pytest.approx(SIZE)


def test_checkpoints_hold_what_is_trained_with_its_moments(architecture: Architecture) -> None:
    estimate = estimate_memory(situation(architecture), Facts(), keep=2)

    # Two, the best, the result, and one in the making.
    assert estimate.disk_bytes == 5 * 12 * SIZE


def test_an_estimate_after_the_first_takes_sixty_microseconds(architecture: Architecture) -> None:
    shardings = [Sharding(), CUT, replace(CUT, gathers="until_backward")]
    optimizers = [Optimizer(), Optimizer("sgd", 1.0)]
    cases = [
        (situation(architecture, precision=precision, ranks=ranks), Facts(sharding=s, optimizer=o))
        for precision, ranks, s, o in product(REGIME_BYTES, (1, 2, 4, 8), shardings, optimizers)
    ]

    def microseconds() -> float:
        started = time.process_time()
        for case in cases:
            estimate_memory(*case)
        return (time.process_time() - started) / len(cases) * 1e6

    microseconds()
    assert min(microseconds() for _ in range(5)) < 60
