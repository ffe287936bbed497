"""The head runs on supervised positions only, and the loss is the textbook's."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.data.batches import Batch
from stoker.plan import head_chunks
from stoker.testing import write_tiny_model
from stoker.train.cross_entropy import linear_cross_entropy
from stoker.train.loss import CausalLMLoss
from stoker.train.measuring.storages import StorageLog


@pytest.fixture
def model(tmp_path: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(write_tiny_model(tmp_path)))


def batch_of(ids: torch.Tensor, index: list[int]) -> Batch:
    target_index = torch.tensor(index, dtype=torch.int64)
    return Batch(
        input_ids=ids,
        lengths=torch.tensor([ids.shape[1]] * len(ids)),
        target_index=target_index,
        targets=ids.reshape(-1)[target_index + 1],
        num_tokens=ids.numel(),
        num_supervised=len(index),
        index=0,
    )


def test_it_is_cross_entropy_over_the_supervised_positions(model: torch.nn.Module) -> None:
    ids = torch.randint(0, 256, (2, 12))
    batch = batch_of(ids, [0, 3, 4, 12, 20])
    total, weight = CausalLMLoss(model)(model, batch)
    logits = model(input_ids=ids).logits.reshape(-1, 259)[batch.target_index]
    expected = functional.cross_entropy(logits, batch.targets, reduction="sum")
    torch.testing.assert_close(total, expected)
    assert float(weight) == 5


def test_the_head_sees_only_the_supervised_positions(model: torch.nn.Module) -> None:
    loss = CausalLMLoss(model)
    shapes = []
    model.lm_head.register_forward_pre_hook(lambda module, inputs: shapes.append(inputs[0].shape))
    loss(model, batch_of(torch.randint(0, 256, (3, 50)), [7, 80]))
    assert shapes == [torch.Size([1, 2, 32])]


def test_other_calls_of_the_model_are_not_touched(model: torch.nn.Module) -> None:
    loss = CausalLMLoss(model)
    loss(model, batch_of(torch.randint(0, 256, (1, 9)), [1]))
    assert model(input_ids=torch.zeros(1, 9, dtype=torch.int64)).logits.shape == (1, 9, 259)


def test_an_empty_micro_batch_gives_zero_and_a_zero_gradient_everywhere(model: torch.nn.Module) -> None:
    total, weight = CausalLMLoss(model)(model, batch_of(torch.zeros(1, 2, dtype=torch.int64), []))
    total.backward()
    assert float(total.detach()) == 0
    assert float(weight) == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_padding_on_the_right_changes_nothing(model: torch.nn.Module) -> None:
    loss = CausalLMLoss(model)
    ids = torch.randint(0, 256, (1, 10))
    padded = torch.cat([ids, torch.full((1, 6), 256)], dim=1)
    short, _ = loss(model, batch_of(ids, [2, 5, 8]))
    long, _ = loss(model, batch_of(padded, [2, 5, 8]))
    torch.testing.assert_close(short, long)


CHUNK = 8


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_chunks, "LEAST_POSITIONS", CHUNK)
    monkeypatch.setattr(head_chunks, "CHUNK_BYTES", 0)
    monkeypatch.setattr(head_chunks, "ROWS_AT_ONCE", 100)


def gradients(model: torch.nn.Module, total: torch.Tensor) -> list[torch.Tensor]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return list(torch.autograd.grad(total * 0.5, trained))


def textbook(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    logits = model(input_ids=batch.input_ids, use_cache=False).logits.flatten(0, 1)[batch.target_index]
    return functional.cross_entropy(logits, batch.targets, reduction="sum")


def with_bias(model: torch.nn.Module) -> None:
    model.lm_head.bias = torch.nn.Parameter(torch.randn(259))


def tied(model: torch.nn.Module) -> None:
    model.lm_head.weight = model.model.embed_tokens.weight


def with_adapter(model: torch.nn.Module) -> None:
    model.config.tie_word_embeddings = False  # else PEFT warns
    adapter = LoraConfig(r=4, target_modules=["lm_head", "q_proj"], init_lora_weights=False)
    inject_adapter_in_model(adapter, model)


def frozen_head(model: torch.nn.Module) -> None:
    model.lm_head.weight.requires_grad_(False)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("change", [with_bias, tied, with_adapter, frozen_head])
@pytest.mark.parametrize("num_targets", [1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_chunks_have_the_gradients_of_all_at_once(
    model: torch.nn.Module, change: Callable[[torch.nn.Module], None], num_targets: int
) -> None:
    change(model)
    batch = batch_of(torch.randint(0, 256, (3, 20)), sorted(torch.randperm(57)[:num_targets].tolist()))
    loss = CausalLMLoss(model, note=pytest.fail)
    for _ in range(2):  # the first call looks at the model, the second does not
        total, _ = loss(model, batch)
        expected = textbook(model, batch)
        torch.testing.assert_close(total, expected)
        found, wanted = gradients(model, total), gradients(model, expected)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("small_chunks")
def test_half_precision_is_as_exact_as_all_at_once(
    model: torch.nn.Module, precision: torch.dtype
) -> None:
    batch = batch_of(torch.randint(0, 256, (3, 20)), list(range(0, 57, 2)))
    wanted = torch.cat([g.flatten() for g in gradients(model, textbook(model, batch))])
    with torch.autocast("cpu", precision):
        at_once = gradients(model, textbook(model, batch))
        in_chunks = gradients(model, CausalLMLoss(model)(model, batch)[0])
    errors = [
        float((torch.cat([g.flatten() for g in found]) - wanted).norm() / wanted.norm())
        for found in (in_chunks, at_once)
    ]
    assert errors[0] < 1.1 * errors[1]


class Largest(TorchDispatchMode):
    """Notes the most elements that a float tensor has."""

    numel = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.numel = max(self.numel, tensor.numel())
        return made


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("change", [tied, with_adapter])
@pytest.mark.parametrize("grad", [True, False], ids=["training", "evaluation"])
def test_the_logits_of_all_positions_are_never_there(
    model: torch.nn.Module, change: Callable[[torch.nn.Module], None], grad: bool
) -> None:
    change(model)
    batch = batch_of(torch.randint(0, 256, (2, 100)), list(range(180)))
    loss = CausalLMLoss(model)
    for _ in range(2):
        with Largest() as largest, torch.set_grad_enabled(grad):
            total, _ = loss(model, batch)
            if grad:
                gradients(model, total)
        assert largest.numel < 180 * 259 / 2


@pytest.mark.usefixtures("small_chunks")
def test_logits_of_a_chunk_are_gone_before_those_of_the_next() -> None:
    vocabulary, width = 4096, 4
    hidden = torch.randn(4 * CHUNK, width, requires_grad=True)
    weight, targets = torch.randn(vocabulary, width), torch.randint(vocabulary, (4 * CHUNK,))
    with StorageLog() as log:
        for tensor in (hidden, weight, targets):
            log.ignore(tensor)
        linear_cross_entropy(hidden, weight, None, targets)
    most = max(itertools.accumulate(change.num_bytes for change in log.changes))
    of_one_chunk = CHUNK * vocabulary * 4
    assert of_one_chunk <= most < 1.1 * of_one_chunk


class Capped(torch.nn.Module):
    """Does with logits what Gemma does."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.inner = model
        self.config = model.config

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.inner.lm_head

    def forward(self, **keywords: Any) -> Any:
        output = self.inner(**keywords)
        output.logits = torch.tanh(output.logits / 30.0) * 30.0
        return output


def test_a_model_that_changes_its_logits_is_found_out_and_right(model: torch.nn.Module) -> None:
    capped = Capped(model)
    notes: list[str] = []
    loss = CausalLMLoss(capped, note=notes.append)
    batch = batch_of(torch.randint(0, 256, (2, 12)), [0, 3, 14])
    for _ in range(2):
        total, _ = loss(capped, batch)
        torch.testing.assert_close(gradients(model, total), gradients(model, textbook(capped, batch)))
    assert len(notes) == 1
    assert notes[0].endswith("at once: Capped does more with logits than to return them")


def test_an_adapted_head_is_called_once_where_calls_communicate(model: torch.nn.Module) -> None:
    with_adapter(model)
    notes: list[str] = []
    calls: list[int] = []
    loss = CausalLMLoss(model, may_call_repeatedly=False, note=notes.append)
    batch = batch_of(torch.randint(0, 256, (2, 12)), [0, 3, 14])
    model.lm_head.base_layer.register_forward_hook(lambda *_: calls.append(1))
    total, _ = loss(model, batch)
    assert len(calls) == len(notes) == 1
    torch.testing.assert_close(total, textbook(model, batch))


def test_a_second_backward_is_refused(model: torch.nn.Module) -> None:
    total, _ = CausalLMLoss(model)(model, batch_of(torch.randint(0, 256, (1, 9)), [1]))
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated before"):
        total.backward()


def test_where_nothing_is_learnt_no_gradient_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight = torch.randn(9, 8), torch.nn.Parameter(torch.randn(30, 8))
    targets = torch.arange(9)
    with torch.no_grad():
        expected = functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
        monkeypatch.setattr(torch, "zeros_like", None)  # what a gradient of the weight begins as
        found = linear_cross_entropy(hidden, weight, None, targets)
    torch.testing.assert_close(found, expected)
    with pytest.raises(TypeError):
        linear_cross_entropy(hidden, weight, None, targets)
