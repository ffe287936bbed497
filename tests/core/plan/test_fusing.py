"""What a compiled block keeps, beside what torch's partitioner keeps."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.block import BlockWriter
from stoker.plan.facts import Adapter
from stoker.plan.inventory import Method, take_inventory
from stoker.plan.situation import MicroBatch
from stoker.plan.surroundings import Arithmetic, Surroundings
from stoker.plan.values import Footprint

WIDTH, INNER, HEADS, KEY_HEADS, TOKENS = 256, 640, 4, 2, 128
CONFIG = {
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "vocab_size": 64,
    "max_position_embeddings": TOKENS,
}
EVERY_LAYER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def footprint(*, compiled: bool, adapter: Adapter | None = None) -> Footprint:
    architecture: Architecture = read_architecture(CONFIG)
    around = Surroundings(
        architecture,
        Arithmetic(compute=2, autocasts=False, gradient=2),
        MicroBatch(1, TOKENS, TOKENS, TOKENS),
        "sdpa",
        packed=False,
        adapter=adapter,
        quantized=None,
        compiled=compiled,
    )
    weights = take_inventory(architecture, Method(adapter)).blocks[0]
    writer = BlockWriter(around, weights, is_sparse=False, window=None)
    return writer.footprint(2, needs_grad=True, input_is_free=False)


def test_inputs_of_kernels_are_kept_and_the_sums_of_norms_and_attention() -> None:
    keys = WIDTH // HEADS * KEY_HEADS
    a_token = (
        2 * 6 * WIDTH  # input, two norms' outputs, queries, attention's output, the sum with the input
        + 2 * 2 * keys
        + 2 * 3 * INNER  # gate, up, their product
        + 4 * HEADS
        + 4 * 2
    )
    assert footprint(compiled=True).kept == TOKENS * a_token


def test_temporaries_between_kernels_are_never_in_memory() -> None:
    plain, compiled = footprint(compiled=False), footprint(compiled=True)
    assert compiled.kept < 0.75 * plain.kept
    assert compiled.backward.flying < plain.backward.flying
    assert compiled.forward_peak < plain.forward_peak
    assert compiled.gradients == plain.gradients


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while it traces
@pytest.mark.parametrize("adapter", [None, Adapter(8, EVERY_LAYER)])
def test_it_is_what_torch_keeps(adapter: Adapter | None) -> None:
    assert footprint(compiled=True, adapter=adapter).kept == kept_by_torch(adapter)


def kept_by_torch(adapter: Adapter | None) -> int:
    """Bytes of the tensors that the compiled block saves, without weights and rotation tables."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

    config = LlamaConfig(**{key: value for key, value in CONFIG.items() if key != "model_type"})
    config._attn_implementation = "sdpa"
    block: Any = LlamaDecoderLayer(config, 0)
    if adapter is not None:
        lora = LoraConfig(r=adapter.rank, target_modules=list(adapter.targets))
        block = inject_adapter_in_model(lora, block)  # type: ignore[no-untyped-call]
    block = block.to(torch.bfloat16)
    source = torch.randn(1, TOKENS, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    tables = LlamaRotaryEmbedding(config)(source, torch.arange(TOKENS)[None])
    others = {tensor.untyped_storage().data_ptr() for tensor in (*block.parameters(), *tables)}
    saved: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    torch._dynamo.reset()
    run = torch.compile(block, backend="aot_eager_decomp_partition")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run(source, position_embeddings=tables, attention_mask=None)
    return sum(t.untyped_storage().nbytes() for place, t in saved.items() if place not in others)
