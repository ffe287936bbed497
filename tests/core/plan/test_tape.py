"""What autograd keeps, in cases that can be counted by hand; torch itself is asked the same."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from stoker.plan.tape import Tape
from stoker.plan.values import FLOAT32, Value

ROWS, WIDTH = 5, 8


def kept_by_torch(source: torch.Tensor, *, trained: bool) -> int:
    """Bytes that silu(x @ w) * x keeps beside the weight."""
    weight = torch.ones(WIDTH, WIDTH, requires_grad=trained)
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() != weight.data_ptr():
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = torch.nn.functional.silu(source @ weight) * source
    assert result.shape == source.shape
    return sum(storages.values())


def written(*, needs_grad: bool, trained: bool) -> tuple[Tape, Value]:
    tape = Tape()
    source = tape.value(ROWS * WIDTH, FLOAT32, needs_grad=needs_grad)
    product = tape.make(
        ROWS * WIDTH,
        FLOAT32,
        [source],
        [source] if trained else [],
        parameter_gradient=WIDTH * WIDTH * FLOAT32 if trained else 0.0,
        stored_gradient=WIDTH * WIDTH * FLOAT32 if trained else 0.0,
    )
    return tape, tape.mul(tape.map(product, "input"), source)


@pytest.mark.parametrize(("needs_grad", "trained"), [(True, True), (True, False), (False, True)])
def test_as_many_bytes_are_kept_as_torch_keeps(needs_grad: bool, trained: bool) -> None:
    tape, output = written(needs_grad=needs_grad, trained=trained)
    source = torch.ones(ROWS, WIDTH, requires_grad=needs_grad)

    assert tape.footprint(output).kept == kept_by_torch(source, trained=trained)


def test_nothing_is_kept_where_nothing_is_trained() -> None:
    tape, output = written(needs_grad=False, trained=False)
    footprint = tape.footprint(output)

    assert (footprint.kept, footprint.backward.total) == (0, 0)


def test_a_residual_gradient_has_no_copy_until_something_is_added_to_it() -> None:
    tape = Tape()
    source = tape.value(10, FLOAT32, needs_grad=True)
    output = tape.add(source, tape.shift(source))

    # Both ways hand on the same gradient; their sum is a second tensor.
    assert tape.footprint(output).backward.flying == 2 * 10 * FLOAT32


def test_gradients_of_parameters_add_up_unless_they_leave_at_once() -> None:
    tape, output = written(needs_grad=True, trained=True)
    footprint = tape.footprint(output)

    assert footprint.gradients == WIDTH * WIDTH * FLOAT32
    assert footprint.backward_alone.gradients == 0
