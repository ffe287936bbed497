"""The adapters for kernels that this machine may lack: what they are told, and what comes back."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention
from transformers import LlamaConfig, MistralConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from stoker.data.batches import Documents
from stoker.errors import PluginError
from stoker.train import attention
from stoker.train.packing import document_keywords
from stoker_plugins.flash_attention import flash, flex

LENGTHS = [7, 12, 3]
SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def flash_attn_func(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
    """What the package documents, [B, T, H, C], written with torch."""
    assert options["dropout_p"] == 0
    assert options["softcap"] == 0
    distance = torch.arange(q.shape[1])[:, None] - torch.arange(k.shape[1])[None, :]
    allowed = distance >= 0 if options["causal"] else torch.ones_like(distance, dtype=torch.bool)
    left, _ = options["window_size"]
    if left >= 0:
        allowed = allowed & (distance <= left)
    heads = (tensor.transpose(1, 2) for tensor in (q, k, v))
    output = functional.scaled_dot_product_attention(
        *heads, attn_mask=allowed, scale=options["softmax_scale"], enable_gqa=True
    )
    return output.transpose(1, 2)


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    **options: Any,
) -> torch.Tensor:
    """[all tokens, H, C], each document by itself."""
    assert cu_seqlens_q.dtype == torch.int32
    assert max_seqlen_q == max_seqlen_k == int(cu_seqlens_q.diff().max())
    lengths = cu_seqlens_q.diff().tolist()
    parts = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
    return torch.cat([flash_attn_func(a[None], b[None], c[None], **options)[0] for a, b, c in parts])


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flash-attn that computes on a CPU what the real one computes on a GPU."""
    module = ModuleType("flash_attn")
    module.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    module.flash_attn_varlen_func = flash_attn_varlen_func  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    flash.register()


def models(config: Any, implementation: str, reference: str) -> list[Any]:
    """Two with the same values."""
    attention.register()
    made = []
    for name in (implementation, reference):
        torch.manual_seed(0)
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        made.append(
            model_class._from_config(config.__class__(**config.to_diff_dict()), attn_implementation=name)
        )
    return made


CONFIGS = {"llama": LlamaConfig(**SIZES), "window": MistralConfig(**SIZES, sliding_window=4)}


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", CONFIGS)
def test_flash_attention_computes_what_transformers_does(name: str) -> None:
    model, reference = models(CONFIGS[name], flash.NAME, "eager")
    ids = torch.randint(0, 50, (2, 15))
    torch.testing.assert_close(
        model(input_ids=ids, use_cache=False).logits, reference(input_ids=ids, use_cache=False).logits
    )


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", CONFIGS)
def test_flash_attention_keeps_documents_apart_within_their_windows(name: str) -> None:
    model, reference = models(CONFIGS[name], flash.NAME, "eager")
    ids = [torch.randint(0, 50, (1, length)) for length in LENGTHS]
    keywords = document_keywords(model, Documents.in_one_row(LENGTHS))
    packed = model(input_ids=torch.cat(ids, 1), use_cache=False, **keywords).logits
    apart = torch.cat([reference(input_ids=each, use_cache=False).logits for each in ids], 1)
    torch.testing.assert_close(packed, apart, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("package")
def test_under_autocast_flash_attention_gets_half_precision() -> None:
    """Rotary embeddings leave queries in float32, which the kernels refuse."""
    heads = [torch.randn(1, 2, 5, 8) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = flash.flash_attention(torch.nn.Module(), *heads, None)
    assert output.dtype == torch.bfloat16


def test_attention_sinks_are_refused() -> None:
    heads = [torch.randn(1, 2, 5, 8) for _ in range(3)]
    with pytest.raises(PluginError, match="attention sinks"):
        flash.flash_attention(torch.nn.Module(), *heads, None, s_aux=torch.zeros(2))


def test_a_package_that_was_built_for_another_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert "flash-attn" in flash.problem()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_blocks_of_flex_attention_are_those_of_the_documents() -> None:
    """Forward only, and as plain operations: it has no backward on a CPU."""
    mask = flex.by_blocks(Documents.in_one_row(LENGTHS))["attention_mask"]
    query, key, value = (torch.randn(1, heads, sum(LENGTHS), 8) for heads in (4, 2, 2))
    found = flex_attention(query, key, value, block_mask=mask, enable_gqa=True)
    parts = zip(*(tensor.split(LENGTHS, 2) for tensor in (query, key, value)), strict=True)
    expected = [
        functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        for q, k, v in parts
    ]
    torch.testing.assert_close(found, torch.cat(expected, 2), rtol=1e-5, atol=1e-5)
