"""What a step of the real loop holds: counted by hand, by the allocator, and without memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from stoker.errors import UsageError
from stoker.plan.measured import Measured, Setting
from stoker.plan.situation import MicroBatch
from stoker.testing.fit import tiny_recipe
from stoker.testing.tiny import write_tiny_model
from stoker.train.measuring import measure as measuring
from stoker.train.measuring.measure import measure

SIZE = MicroBatch(rows=2, positions=64, supervised=50, longest_document=64)
PARAMETERS = 259 * 32 + 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32) + 32
"""Of the tiny Llama; its head is its embedding."""


def cell(folder: Path, *overrides: str, **setting: Any) -> Measured:
    return measure(tiny_recipe(folder, overrides), Setting(**{"micro_batch": SIZE, **setting}))


CONSTANTS = 512
"""Bytes that depend on what a process has done before: constants of libraries, made as they are first
imported, and numbers of ranks, made once for all meshes."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The tiny model in float32, one rank, no plugin."""
    return cell(tmp_path_factory.mktemp("plain"))


def totals(measured: Measured) -> dict[str, int]:
    return {moment: sum(parts.values()) for moment, parts in measured.moments.items()}


def test_what_the_engine_holds_is_counted_to_the_byte(plain: Measured) -> None:
    assert plain.moments["forward"]["weights"] == 4 * PARAMETERS
    assert plain.moments["forward"]["gradients"] == 0  # dropped after a step
    assert plain.moments["update"]["gradients"] == 4 * PARAMETERS
    num_tensors = 2 * 9 + 2
    steps = 4 * num_tensors  # one number for each parameter
    assert plain.moments["update"]["optimizer"] == 8 * PARAMETERS + steps
    assert plain.moments["update"]["activations"] == 0


def test_logits_are_those_of_supervised_tokens_and_gone_when_the_head_returns(plain: Measured) -> None:
    # What is made of them is made in their place.
    assert plain.moments["forward"]["logits"] == 4 * SIZE.supervised * 259
    assert plain.moments["loss"]["logits"] == plain.moments["backward"]["logits"] == 0
    # The gradient of the head waits for that of the embedding, which it is.
    assert any(a.shape == (259, 32) and a.component == "activations" for a in plain.alive["loss"])
    assert plain.allocated == max(totals(plain).values())


@pytest.mark.parametrize("precision", ["fp32", "bf16_mixed"])
def test_the_allocator_of_the_cpu_counts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Every allocation of the third step as torch's profiler tells it, scratch of kernels included."""
    take_step, find_peaks = measuring._take_step, measuring.peaks
    seen: dict[str, int] = {}

    def take_step_profiled(state: Any, step: Any) -> None:
        if step.plan.step < measuring.STEPS:
            take_step(state, step)
            return
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            take_step(state, step)
        events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
        total = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            total += event.nbytes()
            seen["peak"] = max(seen.get("peak", 0), total)

    def peaks_noted(before: Any, changes: Any) -> Any:
        seen["before"] = sum(before.values())
        return find_peaks(before, changes)

    monkeypatch.setattr(measuring, "_take_step", take_step_profiled)
    monkeypatch.setattr(measuring, "peaks", peaks_noted)
    measured = cell(tmp_path, f"train.precision={precision}")
    assert measured.allocated == seen["before"] + seen["peak"]


def test_checkpointing_keeps_less_and_recomputes_it_in_the_backward(
    tmp_path: Path, plain: Measured
) -> None:
    checkpointed = cell(tmp_path, "plugins.activation_checkpointing={}")
    assert checkpointed.moments["forward"]["activations"] < plain.moments["forward"]["activations"] / 5
    recomputed = {alive.operation for alive in checkpointed.alive["backward"]}
    assert any("scaled_dot_product" in operation for operation in recomputed)
    assert checkpointed.allocated < plain.allocated


def test_casts_of_weights_are_buffers_and_live_until_their_backward(tmp_path: Path) -> None:
    measured = cell(tmp_path, "train.precision=bf16_mixed")
    casts = [
        alive
        for alive in measured.alive["loss"]
        if alive.component == "buffers" and alive.operation.startswith("aten._to_copy")
    ]
    matrices = PARAMETERS - 5 * 32 - 259 * 32  # norms are not cast, the head's is used up
    assert sum(alive.num_bytes for alive in casts if len(alive.shape) == 2) == 2 * matrices


def test_an_adapter_has_gradients_and_states_of_its_own_only(tmp_path: Path) -> None:
    measured = cell(tmp_path, "plugins.lora={rank=4}", "train.precision=bf16_mixed")
    shapes = {"q": (32, 32), "k": (16, 32), "v": (16, 32), "o": (32, 32)}
    shapes |= {"gate": (64, 32), "up": (64, 32), "down": (32, 64)}
    adapters = 2 * sum(4 * (outputs + inputs) for outputs, inputs in shapes.values())
    held = measured.moments["update"]
    assert held["weights"] == 2 * PARAMETERS + 4 * adapters
    assert held["gradients"] == 4 * adapters


def test_a_base_in_four_bits_takes_less_than_one_in_sixteen(tmp_path: Path) -> None:
    lora = ("plugins.lora={rank=4}", "train.precision=bf16_mixed")
    whole, packed = cell(tmp_path, *lora), cell(tmp_path, *lora, "plugins.qlora={}")
    down = 2 * 64 * 32  # no other layer has inputs for a whole block of 64
    saved = whole.moments["update"]["weights"] - packed.moments["update"]["weights"]
    scales = down // 64 + 2 * 4  # one byte for each block, and for each matrix their scale
    assert saved == down * 2 - down // 2 - scales


def test_documents_that_share_a_row_are_measured_with_their_positions(tmp_path: Path) -> None:
    size = MicroBatch(rows=1, positions=64, supervised=50, longest_document=20)
    measured = cell(tmp_path, "plugins.packing={}", micro_batch=size, packed=True)
    attentions = [a for a in measured.alive["loss"] if "scaled_dot_product" in a.operation]
    assert {alive.shape[2] for alive in attentions if len(alive.shape) == 4} == {20, 4}


def test_micro_batches_of_a_step_follow_each_other(tmp_path: Path) -> None:
    two = cell(tmp_path, accumulation=2)
    assert two.moments["forward"]["gradients"] == 4 * PARAMETERS  # those of the first
    assert two.moments["update"]["activations"] == 0


@pytest.mark.parametrize("overrides", [(), ("plugins.fsdp={}",)], ids=["default", "fsdp"])
def test_without_memory_one_rank_holds_the_same(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    real, fake = cell(tmp_path, *overrides), cell(tmp_path, *overrides, fake=True)
    assert real.allocated == pytest.approx(fake.allocated, abs=CONSTANTS)
    assert fake.moments["update"]["weights"] == 4 * PARAMETERS


def test_ranks_that_do_not_exist_have_their_part_of_the_model(tmp_path: Path) -> None:
    fake = cell(tmp_path, "plugins.fsdp={strategy='HYBRID_SHARD'}", fake=True, ranks=16, nodes=2)
    assert fake.moments["forward"]["weights"] == pytest.approx(4 * PARAMETERS / 8, rel=0.02)
    assert not torch.distributed.is_initialized()


def test_experts_without_memory_hold_the_same(tmp_path: Path) -> None:
    mixtral = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    write_tiny_model(tmp_path / "model", **mixtral, num_local_experts=4, num_experts_per_tok=2)
    real, fake = cell(tmp_path), cell(tmp_path, fake=True)
    for moment, parts in real.moments.items():
        assert parts == pytest.approx(fake.moments[moment], abs=CONSTANTS)


def test_what_a_compiler_allocates_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'compile' compiles .* nobody can look on"):
        cell(tmp_path, "plugins.compile={}")


def test_zero_without_memory_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot train with tensors that have no memory"):
        cell(tmp_path, "plugins.zero={stage=2}", fake=True)
    assert not torch.distributed.is_initialized()


def test_more_supervised_tokens_than_there_can_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"200 supervised .* 2 rows of 64"):
        cell(tmp_path, micro_batch=MicroBatch(2, 64, 200, 64))


def test_a_measurement_survives_json(plain: Measured) -> None:
    assert Measured.from_json(json.loads(json.dumps(plain.to_json()))) == plain
    setting = Setting(SIZE, ranks=2, fake=True)
    assert Setting.from_json(json.loads(json.dumps(setting.to_json()))) == setting
