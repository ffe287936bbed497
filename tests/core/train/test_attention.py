"""When the mask-free causal kernel is right, and that it is causal."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import CONFIG_MAPPING, LlamaConfig, LlamaForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from stoker.testing import tiny_fit, write_tiny_model
from stoker.train import attention

OTHERS = [
    ("bloom", {"hidden_size": 32, "n_layer": 1, "n_head": 4}),
    ("falcon", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}),
    ("gptj", {"n_embd": 32, "n_layer": 1, "n_head": 4, "rotary_dim": 4}),
]


def config(model_type: str = "llama", **values: object) -> SimpleNamespace:
    text = SimpleNamespace(**values)
    return SimpleNamespace(model_type=model_type, get_text_config=lambda: text)


class Pluggable:
    _supports_sdpa = _supports_attention_backend = True


def choose(table: SimpleNamespace, sequence_length: int, model_class: type = Pluggable) -> str | None:
    return attention.default_implementation(table, model_class, sequence_length)


def test_a_model_class_that_brings_its_own_attention_keeps_it() -> None:
    assert choose(config(), 8, type("OwnAttention", (), {"_supports_sdpa": True})) is None


@pytest.mark.parametrize(("name", "values"), OTHERS)
def test_architectures_without_pluggable_attention_train_too(
    tmp_path: Path, name: str, values: dict[str, int]
) -> None:
    """Bloom and GPT-J know no SDPA, Falcon only its own."""
    write_tiny_model(tmp_path / "model")
    table = CONFIG_MAPPING[name](vocab_size=259, **values)
    table.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name]]
    table.save_pretrained(tmp_path / "model")
    fit = tiny_fit(tmp_path)
    assert fit.losses[-1] < fit.losses[0]


def test_a_model_that_adds_to_its_mask_in_every_layer_keeps_the_mask() -> None:
    """Without one Doge's tokens would see their future."""
    assert choose(config(model_type="doge"), 8) is None


def test_full_attention_takes_the_mask_free_kernel() -> None:
    assert choose(config(), 1024) == attention.CAUSAL_SDPA


def test_a_window_shorter_than_the_rows_does_not() -> None:
    assert choose(config(sliding_window=512), 1024) is None
    assert choose(config(sliding_window=4096), 1024) is not None


def test_a_window_that_is_switched_off_does_not_count() -> None:
    table = config(sliding_window=512, use_sliding_window=False)
    assert choose(table, 1024) == attention.CAUSAL_SDPA


def test_layers_of_another_kind_do_not() -> None:
    table = config(layer_types=["full_attention", "sliding_attention"])
    assert choose(table, 8) is None


def test_it_computes_what_transformers_does_with_its_mask() -> None:
    attention.register()
    values = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    reference = LlamaForCausalLM(values)
    model = LlamaForCausalLM._from_config(values, attn_implementation=attention.CAUSAL_SDPA)
    model.load_state_dict(reference.state_dict())
    ids = torch.randint(0, 50, (3, 17))
    torch.testing.assert_close(model(input_ids=ids).logits, reference(input_ids=ids).logits)
