"""Documents that share a row are computed as if each had its own."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from stoker.data.batches import Documents
from stoker.errors import PluginError
from stoker.train import attention, documents
from stoker.train.documents import document_mask, in_compute_dtype, packed_sdpa
from stoker.train.packing import document_keywords

LENGTHS = [7, 12, 1, 5]
TOTAL = sum(LENGTHS)
IMPLEMENTATIONS = [attention.CAUSAL_SDPA, "sdpa", "eager"]


def make_model(implementation: str, key_value_heads: int = 2) -> LlamaForCausalLM:
    attention.register()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=key_value_heads,
    )
    model: LlamaForCausalLM = LlamaForCausalLM._from_config(config, attn_implementation=implementation)
    return model


def documents_of_ids() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 50, (1, length), generator=generator) for length in LENGTHS]


def packed_logits(model: LlamaForCausalLM, ids: list[torch.Tensor]) -> torch.Tensor:
    keywords = document_keywords(model, Documents.in_one_row(LENGTHS))
    logits: torch.Tensor = model(input_ids=torch.cat(ids, 1), use_cache=False, **keywords).logits
    return logits


@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_packed_logits_and_gradients_equal_unpacked_ones(
    implementation: str, key_value_heads: int
) -> None:
    model = make_model(implementation, key_value_heads)
    ids = documents_of_ids()
    apart = torch.cat([model(input_ids=each, use_cache=False).logits for each in ids], 1)
    apart.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    together = packed_logits(model, ids)
    together.square().sum().backward()
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_other_tokens_in_one_document_change_no_other_bit(implementation: str) -> None:
    model = make_model(implementation)
    ids = documents_of_ids()
    before = packed_logits(model, ids)
    ids[1] = (ids[1] + 1) % 50
    after = packed_logits(model, ids)
    changed = (before != after).any(-1)[0]
    begin, end = LENGTHS[0], LENGTHS[0] + LENGTHS[1]
    assert changed[begin:end].all()
    assert not changed[:begin].any()
    assert not changed[end:].any()


def test_the_mask_is_causal_within_documents() -> None:
    mask = document_mask(Documents.in_one_row([2, 3]).offsets, 5)[0, 0]
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


def test_several_packed_rows_are_one_after_the_other() -> None:
    """Two rows of the same documents give the same twice."""
    heads = torch.randn(3, 1, 4, 6, 8)
    query, key, value = heads.unbind()
    module = torch.nn.Module()
    one = packed_sdpa(module, query, key, value, Documents.in_one_row([2, 4]).offsets, 4)
    twice = (tensor.expand(2, -1, -1, -1) for tensor in (query, key, value))
    both = packed_sdpa(module, *twice, Documents.in_one_row([2, 4, 2, 4]).offsets, 4)
    assert both.shape == (2, 6, 4, 8)
    torch.testing.assert_close(both, one.expand(2, -1, -1, -1))


def meta_heads(dtype: torch.dtype) -> list[torch.Tensor]:
    """Query, key and value without values: whoever asks for one raises."""
    return [torch.empty(1, heads, TOTAL, 8, device="meta", dtype=dtype) for heads in (4, 2, 2)]


META_OFFSETS = torch.empty(len(LENGTHS) + 1, dtype=torch.int32, device="meta")


def test_elsewhere_than_on_a_cpu_a_mask_is_made_without_asking_the_device() -> None:
    module = torch.nn.Module()
    module.num_key_value_groups = 2  # type: ignore[assignment]
    output = packed_sdpa(module, *meta_heads(torch.float32), META_OFFSETS, max(LENGTHS))
    assert output.shape == (1, TOTAL, 4, 8)


def test_the_kernel_for_documents_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own check of arguments and shapes; it runs on CUDA only."""
    called = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            called.append((str(func), args))
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(documents, "_varlen_takes", lambda query, value: documents._has_varlen())
    with Watch():
        heads = meta_heads(torch.bfloat16)
        output = packed_sdpa(torch.nn.Module(), *heads, META_OFFSETS, 12, scaling=0.5)
    assert output.shape == (1, TOTAL, 4, 8)
    ((_, arguments),) = [call for call in called if "_varlen_attn" in call[0]]
    assert [tuple(tensor.shape) for tensor in arguments[:3]] == [(TOTAL, n, 8) for n in (4, 2, 2)]
    longest, causal_window = arguments[5:7], arguments[9]
    assert longest == (12, 12)
    assert causal_window == [-1, 0]


def test_kernels_that_autocast_does_not_know_get_its_dtype() -> None:
    tensor = torch.zeros(2)
    assert in_compute_dtype(tensor)[0].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert in_compute_dtype(tensor)[0].dtype == torch.bfloat16


def test_an_implementation_that_nobody_described_is_refused() -> None:
    model = make_model("eager")
    model.config._attn_implementation = "paged_attention"
    with pytest.raises(PluginError, match="'paged_attention' is told where documents begin"):
        document_keywords(model, Documents.in_one_row(LENGTHS))
