"""Families that no rule describes, read from the names of their tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.errors import UsageError
from stoker.plan.weights_header import from_weights_header, read_shapes

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize("model_type", ["exaone4", "hunyuan_v1_dense", "nemotron", "ernie4_5"])
def test_a_family_without_a_rule_is_put_together_from_its_tensors(
    tmp_path: Path, model_type: str
) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SIZES))
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    tensors = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "model.safetensors")

    found = from_weights_header({"model_type": model_type, **SIZES}, read_shapes(tmp_path))

    # Query and key norms of Hunyuan are found too, and Nemotron's MLP without a gate.
    assert {p.name: p.shape for p in found.parameters} == shapes
    assert found.is_guess


def test_shards_are_found_through_the_index(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.zeros(4)}, tmp_path / "model-2.safetensors")
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))

    assert read_shapes(tmp_path) == {"a": (2, 3), "b": (4,)}


@pytest.mark.parametrize("content", [b"", b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\xff" * 8, b"PK"])
def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(UsageError, match=r"model\.safetensors is no safetensors file"):
        read_shapes(tmp_path)
