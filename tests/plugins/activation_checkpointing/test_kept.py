"""How much is kept for backward in each mode, and that gradients do not depend on it."""

from __future__ import annotations

import gc

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stoker.testing.kept import KeptForBackward
from stoker.train import attention
from stoker_plugins.activation_checkpointing import ActivationCheckpointingConfig
from stoker_plugins.activation_checkpointing.host_memory import HostCopy
from stoker_plugins.activation_checkpointing.selection import ATTENTION, kept_operations
from stoker_plugins.activation_checkpointing.wrapping import wrap_blocks

NUM_BLOCKS = 12
NUM_ROWS, LENGTH, WIDTH = 2, 64, 32
FLOAT32 = 4
IDS = torch.randint(0, 50, (NUM_ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
MODES = [
    {"every": 1},
    {"every": 2},
    {"mode": "selective"},
    {"mode": "offload"},
    {"offload_inputs": True},
]


def make_model(table: dict[str, object] | None) -> torch.nn.Module:
    attention.register()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=NUM_BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_dropout=0.1,
    )
    model: torch.nn.Module = LlamaForCausalLM._from_config(
        config, attn_implementation=attention.CAUSAL_SDPA
    ).train()
    if table is not None:
        wrap_blocks(model, ActivationCheckpointingConfig.model_validate(table))
    return model


def forward(model: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    hidden: torch.Tensor = model.model(input_ids=IDS, use_cache=False).last_hidden_state  # type: ignore[operator,union-attr]
    return hidden.square().sum()


def host_bytes() -> int:
    gc.collect()
    copies = [thing for thing in gc.get_objects() if type(thing) is HostCopy]
    return sum(copy.tensor.untyped_storage().nbytes() for copy in copies)


def measure(table: dict[str, object] | None) -> tuple[int, int]:
    """Bytes kept on the device and in host memory."""
    model = make_model(table)
    with KeptForBackward() as kept:
        loss = forward(model)
    host = host_bytes()
    device = kept.num_bytes() - host
    loss.backward()
    assert host_bytes() == 0, "backward has let go of all copies"
    return device, host


@pytest.fixture(scope="module")
def without() -> int:
    return measure(None)[0]


def test_full_keeps_the_inputs_of_blocks_only(without: int) -> None:
    device, host = measure({})
    inputs = NUM_BLOCKS * NUM_ROWS * LENGTH * WIDTH * FLOAT32
    outside = measure({"offload_inputs": True})[0]
    assert host == 0
    assert device == pytest.approx(inputs + outside, rel=0.02)
    assert device < 0.1 * without


def test_every_second_block_keeps_a_good_half(without: int) -> None:
    full, half = measure({})[0], measure({"every": 2})[0]
    assert half == pytest.approx((full + without) / 2, rel=0.02)


def test_selective_lies_between(without: int) -> None:
    assert measure({})[0] < measure({"mode": "selective"})[0] < 0.75 * without


def test_offload_keeps_on_the_host_what_the_device_had(without: int) -> None:
    device, host = measure({"mode": "offload"})
    assert device < 0.05 * without
    # Projections share their input, and it is copied once.
    assert host + device == pytest.approx(without, rel=0.1)


def test_offloaded_inputs_are_all_that_is_copied() -> None:
    assert measure({"offload_inputs": True})[1] == NUM_BLOCKS * NUM_ROWS * LENGTH * WIDTH * FLOAT32


@pytest.mark.parametrize("table", MODES, ids=str)
def test_the_gradient_of_every_tensor_is_bitwise_the_same(table: dict[str, object]) -> None:
    plain, wrapped = make_model(None), make_model(table)
    for model in (plain, wrapped):
        forward(model).backward()
    expected = dict(plain.named_parameters())
    for name, parameter in wrapped.named_parameters():
        assert (parameter.grad is None) == (expected[name].grad is None), name
        if parameter.grad is not None:
            assert torch.equal(parameter.grad, expected[name].grad), name  # type: ignore[arg-type]


@pytest.mark.parametrize("table", MODES, ids=str)
def test_without_gradients_a_block_runs_as_it_was(table: dict[str, object]) -> None:
    model = make_model(table)
    with torch.no_grad(), KeptForBackward() as kept:
        forward(model)
    assert kept.num_bytes() == 0
    assert host_bytes() == 0


def test_selective_knows_the_operations_of_this_torch() -> None:
    names = {str(operation) for operation in kept_operations()}
    assert {"aten.mm.default", "aten.addmm.default", "flex_attention"} <= names
    assert "torch_attn._varlen_attn.default" in names
    known = [name for name in ATTENTION if name.startswith("aten.")]
    assert {f"{name}.default" for name in known} <= names
    # The quadratic scores of eager attention are batched products.
    assert "aten.bmm.default" not in names
