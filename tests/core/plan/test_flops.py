"""What is computed, counted by hand for models that are small enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.facts import Adapter, Checkpointing, Facts, Quantized
from stoker.plan.flops import count_work, evaluation_work
from stoker.plan.gpus import find_gpu
from stoker.plan.models import find_model_config
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.trained import trained_set

LLAMA = read_architecture(find_model_config("llama-3-8b"))
MIXTRAL = read_architecture(find_model_config("mixtral-8x7b"))
TIED = read_architecture(find_model_config("smollm2-135m"))
HEAD = 128256 * 4096
BLOCKS = LLAMA.matmul_parameters - HEAD
TOKENS = 4 * 2048


def a_situation(architecture: Architecture = LLAMA, supervised: int = TOKENS) -> Situation:
    batch = MicroBatch(4, 2048, supervised, 2048)
    return Situation(architecture, "bf16_mixed", batch, find_gpu("h100-80gb"))


def test_full_training_is_six_operations_for_each_weight_and_token() -> None:
    work = count_work(a_situation(), Facts())
    assert work.matmul_flops == 6 * TOKENS * (BLOCKS + HEAD)
    assert work.matmul_flops / TOKENS == pytest.approx(6 * 7.504e9, rel=0.001)


def test_attention_is_two_products_forward_and_five_back_over_half_of_the_pairs() -> None:
    work = count_work(a_situation(), Facts())
    assert work.attention_flops == 4 * 4096 * 32 * TOKENS * 1024 * 3.5


def test_checkpointing_runs_the_blocks_again_and_not_the_head() -> None:
    plain = count_work(a_situation(), Facts())
    full = count_work(a_situation(), Facts(checkpointing=Checkpointing("full")))
    half = count_work(a_situation(), Facts(checkpointing=Checkpointing("full", every=2)))
    assert full.matmul_flops - plain.matmul_flops == 2 * TOKENS * BLOCKS
    assert half.matmul_flops - plain.matmul_flops == TOKENS * BLOCKS
    assert full.model_flops == plain.model_flops


def test_a_selective_mode_computes_what_lies_between_the_products_again() -> None:
    plain = count_work(a_situation(), Facts())
    found = count_work(a_situation(), Facts(checkpointing=Checkpointing("selective")))
    assert found.executed_flops == plain.executed_flops
    assert found.moved_bytes == pytest.approx(plain.moved_bytes * 4 / 3)


def test_moving_to_the_host_computes_nothing_again() -> None:
    found = count_work(a_situation(), Facts(checkpointing=Checkpointing("offload")))
    assert found == count_work(a_situation(), Facts())


def test_frozen_weights_have_no_gradient_of_their_own() -> None:
    lora = count_work(a_situation(), Facts(adapter=Adapter(16)))
    adapter = trained_set(LLAMA, Facts(adapter=Adapter(16))).adapter
    assert adapter == 41_943_040  # what PEFT counts for rank 16 on all linear layers
    assert lora.matmul_flops == 4 * TOKENS * (BLOCKS + HEAD) + 6 * TOKENS * adapter


def test_lora_computes_two_thirds_of_full_training_and_three_quarters_with_checkpointing() -> None:
    def share(facts: Facts) -> float:
        lora = replace(facts, adapter=Adapter(8))
        situation = a_situation()
        return count_work(situation, lora).matmul_flops / count_work(situation, facts).matmul_flops

    assert share(Facts()) == pytest.approx(2 / 3, abs=0.01)
    assert share(Facts(checkpointing=Checkpointing("full"))) == pytest.approx(3 / 4, abs=0.01)


def test_the_head_sees_supervised_tokens_only() -> None:
    none = count_work(a_situation(supervised=0), Facts())
    assert none.matmul_flops == 6 * TOKENS * BLOCKS


def test_a_tied_head_is_multiplied_though_it_is_no_tensor_of_its_own() -> None:
    work = count_work(a_situation(TIED), Facts())
    assert work.matmul_flops == 6 * TOKENS * TIED.matmul_parameters


def test_a_token_meets_two_of_eight_experts() -> None:
    work = count_work(a_situation(MIXTRAL), Facts())
    assert work.matmul_flops / TOKENS == pytest.approx(6 * 12.75e9, rel=0.01)


def test_a_mask_makes_attention_compute_every_pair() -> None:
    fused = count_work(a_situation(), Facts(attention="flash_attention_2"))
    eager = count_work(a_situation(), Facts(attention="eager"))
    single = replace(a_situation(), precision="fp32")
    masked = count_work(single, Facts(packed=True))
    assert masked.attention_flops == 2 * fused.attention_flops
    assert eager.attention_flops == pytest.approx(2 * 3 / 3.5 * fused.attention_flops)


def test_documents_of_a_row_are_computed_apart_where_a_kernel_does_that() -> None:
    batch = MicroBatch(1, 4096, 4096, 64)
    alone = replace(batch, rows=64, positions=64)
    for situation in (a_situation(), replace(a_situation(), gpu=find_gpu("cpu"), precision="fp32")):
        packed = count_work(situation, Facts(packed=True), batch)
        assert packed.attention_flops == count_work(situation, Facts(), alone).attention_flops
    old = replace(a_situation(), gpu=find_gpu("v100-32gb"), precision="fp16_mixed")
    assert count_work(old, Facts(packed=True), batch).attention_flops > 60 * packed.attention_flops


def test_a_window_bounds_what_is_looked_at() -> None:
    mistral = read_architecture(find_model_config("mistral-7b"))
    batch = MicroBatch(1, 32768, 32768, 32768)
    windowed = count_work(replace(a_situation(mistral), micro_batch=batch), Facts())
    whole = 4 * 4096 * 32 * 32768 * 16384 * 3.5
    assert windowed.attention_flops < 0.3 * whole


def test_unpacking_counts_the_frozen_matrices_for_every_pass() -> None:
    facts = Facts(adapter=Adapter(8), quantized=Quantized(0.5, 64))
    work = count_work(a_situation(), facts)
    assert work.unpacked_bytes == 2 * BLOCKS * (0.5 + 2)


def test_an_evaluation_is_a_forward() -> None:
    work = evaluation_work(a_situation(), Facts())
    assert work.matmul_flops == 2 * TOKENS * (BLOCKS + HEAD)
    assert work.layer_passes == 32


@given(rows=st.integers(1, 64), positions=st.integers(16, 8192))
def test_model_flops_are_executed_flops_but_for_attentions_second_look(
    rows: int, positions: int
) -> None:
    tokens = rows * positions
    situation = replace(a_situation(), micro_batch=MicroBatch(rows, positions, tokens, positions))
    work = count_work(situation, Facts())
    assert work.executed_flops == pytest.approx(work.model_flops + work.attention_flops / 7)
