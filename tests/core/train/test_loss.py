"""The head runs on supervised positions only, and the loss is the textbook's."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from stoker.data.batches import Batch
from stoker.testing import write_tiny_model
from stoker.train.loss import CausalLMLoss


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
    model.lm_head.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    loss(model, batch_of(torch.randint(0, 256, (3, 50)), [7, 80]))
    assert shapes == [torch.Size([1, 2, 259])]


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
