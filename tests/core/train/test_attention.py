"""When the mask-free causal kernel is right, and that it is causal."""

from types import SimpleNamespace

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stoker.train import attention


def config(**values: object) -> SimpleNamespace:
    text = SimpleNamespace(**values)
    return SimpleNamespace(get_text_config=lambda: text)


def test_full_attention_takes_the_mask_free_kernel() -> None:
    assert attention.default_implementation(config(), 1024) == attention.CAUSAL_SDPA


def test_a_window_shorter_than_the_rows_does_not() -> None:
    assert attention.default_implementation(config(sliding_window=512), 1024) is None
    assert attention.default_implementation(config(sliding_window=4096), 1024) is not None


def test_a_window_that_is_switched_off_does_not_count() -> None:
    table = config(sliding_window=512, use_sliding_window=False)
    assert attention.default_implementation(table, 1024) == attention.CAUSAL_SDPA


def test_layers_of_another_kind_do_not() -> None:
    table = config(layer_types=["full_attention", "sliding_attention"])
    assert attention.default_implementation(table, 8) is None


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
