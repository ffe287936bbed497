"""Where tensors come from, and that it does not matter how they are read."""

from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM

from stoker.errors import UsageError
from stoker.testing import write_tiny_model
from stoker.train.model import tie
from stoker.train.weights import (
    RandomSource,
    SafetensorsSource,
    fill,
    pretrained_source,
    replace_parameters,
)


def empty_model(directory: Path) -> torch.nn.Module:
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    tie(model)
    return model


def filled(directory: Path) -> torch.nn.Module:
    model = empty_model(directory)
    replace_parameters(model, lambda p: torch.nn.Parameter(torch.empty(p.shape)))
    fill(
        model,
        pretrained_source(directory, {n: p.shape for n, p in model.named_parameters()}, {}),
        torch.device("cpu"),
    )
    return model


def test_any_range_of_a_tensor_reads_as_that_part_of_the_whole(tmp_path: Path) -> None:
    whole = torch.arange(7 * 5 * 3).reshape(7, 5, 3).float()
    save_file({"t": whole, "scalar": torch.tensor(4.0)}, tmp_path / "model.safetensors")
    source = SafetensorsSource(tmp_path)
    flat = whole.reshape(-1)
    for start in range(0, 105, 4):
        for stop in range(start, 106, 7):
            assert torch.equal(source.read("t", "weight", start, stop), flat[start:stop])
    assert source.read("scalar", "weight").tolist() == [4.0]


def test_pretrained_weights_give_the_logits_of_from_pretrained(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    reference = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    reference.save_pretrained(tmp_path)
    ids = torch.arange(40).view(2, 20)
    model = filled(tmp_path)
    assert torch.equal(model(input_ids=ids).logits, reference(input_ids=ids).logits)


def test_tied_embeddings_stay_one_tensor(tmp_path: Path) -> None:
    write_tiny_model(tmp_path)
    model = empty_model(tmp_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    replace_parameters(model, lambda p: torch.nn.Parameter(torch.empty(p.shape)))
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_files_with_other_names_are_converted_by_transformers(tmp_path: Path) -> None:
    """Mixtral's files hold one tensor for each expert, the model holds them fused."""
    config = MixtralConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    reference = MixtralForCausalLM(config)
    reference.save_pretrained(tmp_path)
    names = set(SafetensorsSource(tmp_path).names())
    assert not {name for name, _ in reference.named_parameters()} <= names
    ids = torch.arange(10).view(1, 10)
    torch.testing.assert_close(
        filled(tmp_path)(input_ids=ids).logits, reference(input_ids=ids).logits, rtol=0, atol=1e-6
    )


def test_random_weights_are_keyed_by_seed_and_name(tmp_path: Path) -> None:
    modules = dict(empty_model(write_tiny_model(tmp_path)).named_modules())
    name = "model.layers.1.self_attn.q_proj.weight"
    first = RandomSource(modules, seed=1).read(name, "weight")
    assert torch.equal(first, RandomSource(modules, seed=1).read(name, "weight"))
    assert not torch.equal(first, RandomSource(modules, seed=2).read(name, "weight"))
    other = RandomSource(modules, seed=1).read(name.replace("q_proj", "o_proj"), "weight")
    assert not torch.equal(first, other)
    assert float(first.std()) == pytest.approx(0.02, rel=0.2)


def test_random_weights_do_not_disturb_the_global_generator(tmp_path: Path) -> None:
    modules = dict(empty_model(write_tiny_model(tmp_path)).named_modules())
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    RandomSource(modules, seed=1).read("model.norm.weight", "weight")
    assert torch.equal(torch.rand(3), expected)


def test_a_directory_without_safetensors_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"not opened")
    with pytest.raises(UsageError, match=r"no safetensors weights.*initial_weights"):
        SafetensorsSource(tmp_path)
