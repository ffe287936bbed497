"""Seconds: what they are made of, and which way they move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stoker.plan.architecture import read_architecture
from stoker.plan.attained import attained
from stoker.plan.facts import Adapter, Checkpointing, Facts, Optimizer, Quantized, Sharding
from stoker.plan.gpus import find_gpu, known_gpus
from stoker.plan.models import find_model_config
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.time import Calibration, Load, TimeEstimate, estimate_time

LLAMA = read_architecture(find_model_config("llama-3-8b"))
H100 = find_gpu("h100-80gb")
FREE = replace(H100, link_bandwidth=1e18, network_bandwidth=1e18, host_bandwidth=1e18)
GPUS = st.sampled_from(sorted(known_gpus())).map(find_gpu)


def a_situation(**changes: Any) -> Situation:
    batch = MicroBatch(2, 4096, 2 * 4096, 4096)
    return replace(Situation(LLAMA, "bf16_mixed", batch, H100), **changes)


def sharded(ranks: int, **changes: Any) -> Facts:
    shares = {"weights_over": ranks, "gradients_over": ranks, "states_over": ranks}
    given_up = {"gathers": "twice", "reduces_each_micro_batch": True}
    return Facts(sharding=Sharding(**{**shares, **given_up, **changes}))


def estimate(situation: Situation, facts: Facts | None = None, **load: Any) -> TimeEstimate:
    return estimate_time(situation, facts or Facts(), Load(**{"steps": 1, **load}))


def seconds_per_token(situation: Situation, facts: Facts | None = None) -> float:
    return 1 / estimate(situation, facts).tokens_per_second.mid


def test_the_parts_of_a_step_add_up_to_it() -> None:
    facts = sharded(8, optimizer_on="host")
    found = estimate(a_situation(ranks=8, accumulation=4), facts, input_seconds=0.1)
    parts = found.compute + found.communication + found.offload + found.update + found.input
    assert parts == pytest.approx(found.step_seconds.mid)
    assert min(found.compute, found.communication, found.offload, found.input) > 0


def test_the_middle_lies_between_low_and_high() -> None:
    found = estimate(a_situation())
    assert found.step_seconds.low < found.step_seconds.mid < found.step_seconds.high
    assert found.tokens_per_second.low < found.tokens_per_second.mid < found.tokens_per_second.high


def test_mfu_and_hfu_differ_by_recomputation() -> None:
    plain = estimate(a_situation())
    again = estimate(a_situation(), Facts(checkpointing=Checkpointing("full")))
    assert 0.3 < plain.mfu < plain.hfu < 1
    assert again.hfu / again.mfu > 1.25 * plain.hfu / plain.mfu


def test_a_published_run_is_met() -> None:
    """torchtitan, Llama 3.1 8B on eight H100 of 500 W, two rows of 8192, not compiled: 5762."""
    gpu = replace(H100, bf16_flops=835e12, memory_bandwidth=2.4e12)
    batch = MicroBatch(2, 8192, 2 * 8192, 8192)
    facts = replace(sharded(8, gradient_bytes=2), checkpointing=Checkpointing("full", 2))
    found = estimate(a_situation(gpu=gpu, ranks=8, micro_batch=batch), facts)
    assert found.tokens_per_second.mid / 8 == pytest.approx(5762, rel=0.05)


def test_compiling_saves_moves_and_no_products() -> None:
    plain, compiled = estimate(a_situation()), estimate(a_situation(), Facts(compiled="block"))
    assert 1.1 < plain.compute / compiled.compute < 1.5


def test_lora_gains_less_than_the_guide_says() -> None:
    full, lora = estimate(a_situation()), estimate(a_situation(), Facts(adapter=Adapter(16)))
    assert 1.1 < full.step_seconds.mid / lora.step_seconds.mid < 2


def test_unpacking_costs_time_that_a_large_micro_batch_hides() -> None:
    def share(rows: int) -> float:
        situation = a_situation(micro_batch=MicroBatch(rows, 512, rows * 512, 512))
        lora = Facts(adapter=Adapter(16))
        qlora = replace(lora, quantized=Quantized(0.5625, 64))
        return estimate(situation, qlora).compute / estimate(situation, lora).compute

    assert share(1) > 1.3
    assert share(64) < 1.05


def test_a_smaller_optimizer_updates_faster() -> None:
    small = Facts(optimizer=Optimizer(moment_bytes=1))
    assert estimate(a_situation(), small).update < estimate(a_situation()).update


def test_offload_to_nvme_is_slower_than_to_the_host_and_that_than_none() -> None:
    steps = [
        estimate(a_situation(ranks=8), sharded(8, optimizer_on=place)).step_seconds.mid
        for place in ("device", "host", "nvme")
    ]
    assert steps == sorted(steps)
    assert steps[2] > 2 * steps[0]


def test_evaluations_checkpoints_and_the_start_are_in_the_run_and_not_in_the_step() -> None:
    plain = estimate(a_situation(), steps=100)
    more = estimate(
        a_situation(),
        steps=100,
        evaluations=2,
        evaluation_micro_batches=10,
        checkpoints=3,
        start_seconds=60,
    )
    assert more.step_seconds == plain.step_seconds
    extra = more.run_seconds.mid - plain.run_seconds.mid
    assert extra == pytest.approx(more.evaluation + more.checkpoint + 60)
    assert 20 * 0.2 < more.evaluation / plain.compute < 20 * 0.45  # a forward is about a third
    assert more.checkpoint > 0


def test_padding_costs_time_and_counts_for_nothing() -> None:
    whole = estimate(a_situation())
    half = estimate(a_situation(), tokens_per_step=4096)
    assert half.step_seconds == whole.step_seconds
    assert half.tokens_per_second.mid == pytest.approx(whole.tokens_per_second.mid / 2)


def test_small_layers_wait_for_the_processor_that_launches_them() -> None:
    small = read_architecture(find_model_config("smollm2-135m"))
    one, four = (
        estimate(a_situation(architecture=small, micro_batch=MicroBatch(rows, 64, rows * 64, 64)))
        for rows in (1, 4)
    )
    assert one.compute == four.compute


def test_a_calibration_moves_the_middle_and_narrows_the_range() -> None:
    seen = Calibration(ratio=1.2, spread=0.03, runs=4)
    found = estimate_time(a_situation(), Facts(), Load(steps=10), seen)
    plain = estimate(a_situation(), steps=10)
    assert found.step_seconds.mid == pytest.approx(1.2 * plain.step_seconds.mid)
    assert found.step_seconds.high / found.step_seconds.low == pytest.approx(1.03**2)
    assert found.calibrated_runs == 4
    assert "calibrated from 4 runs" in found.notes[0]


def test_measured_rates_take_the_place_of_the_data_sheet() -> None:
    slow = Calibration(ratio=1, spread=0.1, matmul_flops=1e12, memory_bandwidth=1e11)
    found = estimate_time(a_situation(), Facts(), Load(steps=1), slow)
    assert found.compute > 100 * estimate(a_situation()).compute


def test_a_type_without_published_runs_says_so_and_has_a_wider_range() -> None:
    found = estimate(a_situation(gpu=find_gpu("l4-24gb")))
    assert "no published run on l4-24gb" in found.notes[0]
    assert found.step_seconds.high / found.step_seconds.mid > 1.3
    assert attained("a100-80gb").is_fitted
    assert not attained("l4-24gb").is_fitted


def test_a_processor_that_was_not_measured_says_so() -> None:
    assert "has not been measured" in estimate(a_situation(gpu=find_gpu("cpu"))).notes[0]


@given(ranks=st.integers(1, 8), more=st.integers(1, 8))
def test_more_ranks_are_never_slower_for_a_token_where_communication_is_free(
    ranks: int, more: int
) -> None:
    few = seconds_per_token(a_situation(gpu=FREE, ranks=ranks), sharded(ranks))
    many = seconds_per_token(a_situation(gpu=FREE, ranks=ranks + more), sharded(ranks + more))
    assert many <= few * (1 + 1e-9)


@given(gpu=GPUS, factor=st.floats(1, 100), field=st.sampled_from(["memory", "link", "network", "host"]))
def test_more_bandwidth_is_never_slower(gpu: Any, factor: float, field: str) -> None:
    name = f"{field}_bandwidth"
    faster = replace(gpu, **{name: getattr(gpu, name) * factor})
    # A link that is no faster than the bus to the host is that bus.
    assume(gpu.link_bandwidth <= gpu.host_bandwidth or faster.link_bandwidth > faster.host_bandwidth)
    facts = replace(sharded(16, optimizer_on="host"), checkpointing=Checkpointing("offload"))
    before = estimate(a_situation(gpu=gpu, ranks=16, nodes=2), facts).step_seconds.mid
    after = estimate(a_situation(gpu=faster, ranks=16, nodes=2), facts).step_seconds.mid
    assert after <= before * (1 + 1e-9)


@given(rows=st.integers(1, 32), more=st.integers(1, 32))
def test_a_larger_micro_batch_takes_longer_and_is_never_slower_for_a_token(rows: int, more: int) -> None:
    def situation(count: int) -> Situation:
        return a_situation(ranks=8, micro_batch=MicroBatch(count, 1024, count * 1024, 1024))

    small, large = (estimate(situation(count), sharded(8)) for count in (rows, rows + more))
    assert large.step_seconds.mid >= small.step_seconds.mid
    assert large.tokens_per_second.mid >= small.tokens_per_second.mid * (1 - 1e-9)


@given(gpu=GPUS)
def test_recomputation_is_never_faster(gpu: Any) -> None:
    again = Facts(checkpointing=Checkpointing("full"))
    assert seconds_per_token(a_situation(gpu=gpu), again) >= seconds_per_token(a_situation(gpu=gpu))
