"""Sizes, names and shapes read from a config, beside what transformers builds from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.errors import UsageError
from stoker.plan.architecture import read_architecture
from stoker.plan.families import families

_SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_HEADS = {**_SIZES, "head_dim": 12}
_OLD = {
    "vocab_size": 96,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

_LIKE_LLAMA = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3"),
    *("olmo", "olmo2", "olmo3", "granite", "starcoder2", "cohere", "cohere2", "smollm3"),
    *("arcee", "seed_oss", "glm", "glm4"),
)

SMALL_CONFIGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(_LIKE_LLAMA, _HEADS),
    "mixtral": {**_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**_HEADS, **_EXPERTS, "shared_expert_intermediate_size": 40},
    "qwen3_moe": {**_HEADS, **_EXPERTS, "mlp_only_layers": [0]},
    "olmoe": {**_SIZES, "num_experts": 4, "num_experts_per_tok": 2},
    "gpt2": _OLD,
    "gpt_bigcode": _OLD,
    "gptj": {**_OLD, "rotary_dim": 4},
    "gpt_neox": {**_SIZES, "num_key_value_heads": 4},
    "stablelm": _SIZES,
    "opt": {**_SIZES, "ffn_dim": 80, "word_embed_proj_dim": 32},
}


def test_every_family_has_a_small_config() -> None:
    assert set(SMALL_CONFIGS) == set(families())


@pytest.mark.parametrize("model_type", SMALL_CONFIGS)
def test_names_and_shapes_are_those_that_transformers_builds(model_type: str) -> None:
    stated = SMALL_CONFIGS[model_type]
    config = AutoConfig.for_model(model_type, **stated)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    built = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}

    for config_json in (config.to_dict(), {"model_type": model_type, **stated}):
        architecture = read_architecture(config_json)
        assert {p.name: p.shape for p in architecture.parameters} == built
        assert not architecture.is_guess
        assert architecture.num_parameters == model.num_parameters()


def test_an_unknown_family_is_read_as_a_llama_and_says_so() -> None:
    architecture = read_architecture({**SMALL_CONFIGS["llama"], "model_type": "nobody-knows"})
    llama = read_architecture({**SMALL_CONFIGS["llama"], "model_type": "llama"})

    assert architecture.is_guess
    assert architecture.parameters == llama.parameters


def test_the_text_model_of_several_modalities_is_read() -> None:
    text = {**SMALL_CONFIGS["gemma3_text"], "model_type": "gemma3_text"}
    architecture = read_architecture({"model_type": "gemma3", "text_config": text})

    assert architecture.parameters == read_architecture(text).parameters
    assert architecture.is_guess


def test_a_missing_size_is_named() -> None:
    config = {key: value for key, value in SMALL_CONFIGS["llama"].items() if key != "vocab_size"}
    with pytest.raises(UsageError, match="vocab_size"):
        read_architecture({"model_type": "llama", **config})


def test_a_size_that_is_no_number_is_named() -> None:
    with pytest.raises(UsageError, match="hidden_size is 'wide'"):
        read_architecture({**SMALL_CONFIGS["llama"], "model_type": "llama", "hidden_size": "wide"})


def test_a_token_meets_only_its_experts() -> None:
    architecture = read_architecture({"model_type": "mixtral", **SMALL_CONFIGS["mixtral"]})
    experts = 2 * 4 * (160 * 32 + 32 * 80)

    assert architecture.num_parameters - architecture.num_active_parameters == experts // 2


def test_products_count_a_tied_head_and_no_look_up() -> None:
    config = {"model_type": "llama", **SMALL_CONFIGS["llama"]}
    untied = read_architecture(config)
    tied = read_architecture({**config, "tie_word_embeddings": True})

    assert tied.num_parameters == untied.num_parameters - 96 * 32
    assert tied.matmul_parameters == untied.matmul_parameters
    assert untied.matmul_parameters == 96 * 32 + 2 * (2 * 48 * 32 + 2 * 24 * 32 + 3 * 80 * 32)


def test_windows_follow_the_family() -> None:
    gemma = read_architecture({"model_type": "gemma2", **SMALL_CONFIGS["gemma2"], "sliding_window": 8})
    mistral = read_architecture(
        {"model_type": "mistral", **SMALL_CONFIGS["mistral"], "sliding_window": 8}
    )

    assert gemma.windows == (8, None)
    assert mistral.windows == (8, 8)
