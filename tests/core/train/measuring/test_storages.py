"""Every storage counts once, from its allocation to its end."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from stoker.train.measuring.peaks import held_after, peaks
from stoker.train.measuring.storages import StorageLog


def alive_bytes(log: StorageLog) -> int:
    return sum(log.alive().values())


def test_a_storage_counts_once_and_until_its_last_view_is_gone() -> None:
    with StorageLog() as log:
        whole = torch.zeros(100)
        part = whole[10:20]
        whole += 1
        assert alive_bytes(log) == 400
        del whole
        assert alive_bytes(log) == 400
        del part
        assert alive_bytes(log) == 0
    assert [change.num_bytes for change in log.changes] == [400, -400]


def test_what_only_autograd_holds_is_alive() -> None:
    weight = torch.ones(10, requires_grad=True)
    with StorageLog() as log:
        total = weight.exp().sum()  # the exponential is saved, and nobody else has it
        assert alive_bytes(log) == 40 + 40 + 4  # weight, exponential, sum
        total.backward()
        assert weight.grad is not None
        assert alive_bytes(log) == 40 + 40 + 4  # the gradient came, the exponential went


def test_the_peak_of_a_little_model_is_inside_its_backward_as_counted_by_hand() -> None:
    """Two layers without bias on 4 rows: 8 -> 16 -> 2, in float32."""
    first = torch.ones(16, 8, requires_grad=True)
    second = torch.ones(2, 16, requires_grad=True)
    rows = torch.ones(4, 8)
    with StorageLog() as log:
        for tensor in (first, second, rows):
            log.see(tensor, "by hand")
        before = log.alive()
        log.changes.clear()
        log.moment = "forward"
        hidden = rows @ first.T
        active = hidden.relu()
        del hidden
        total = (active @ second.T).sum()
        del active
        log.moment = "backward"
        total.backward()
        held = peaks(before, log.changes)
    weights, inputs = 4 * (16 * 8 + 2 * 16), 4 * 4 * 8
    activation, output = 4 * 4 * 16, 4 * 4 * 2
    forward = weights + inputs + 2 * activation  # the hidden layer before and after its relu
    assert sum(before.values()) == weights + inputs
    assert sum(held["forward"].values()) == forward
    # The activation; gradients of the sum (a number that is expanded), of the second weight, of the
    # activation and, computed from that, of the hidden layer. The sum itself is still there.
    backward = weights + inputs + activation + 4 + 4 + 4 * 2 * 16 + 2 * activation
    assert sum(held["backward"].values()) == backward
    assert backward > forward + output
    after = held_after(before, log.changes)
    assert sum(after.values()) == 2 * weights + inputs + 4  # gradients, and the sum


def test_memory_that_is_given_back_and_taken_again_is_seen() -> None:
    with StorageLog() as log:
        gathered = torch.empty(100)
        gathered.untyped_storage().resize_(0)
        assert alive_bytes(log) == 0
        gathered.untyped_storage().resize_(400)
        assert alive_bytes(log) == 400
    allocation = log.allocation_of(gathered)
    assert allocation is not None
    assert allocation.was_resized
    assert torch.UntypedStorage.resize_.__name__ == "resize_"  # nobody watches any more


def test_what_was_there_before_counts_from_its_first_use() -> None:
    old = torch.ones(100)
    with StorageLog() as log:
        assert alive_bytes(log) == 0
        new = old + 1
        assert alive_bytes(log) == 800
    assert new.shape == old.shape


def test_what_stands_for_memory_of_the_host_is_left_out() -> None:
    with StorageLog() as log:
        on_host = torch.ones(100)
        log.ignore(on_host)
        on_device = on_host * 2
        assert alive_bytes(log) == 400
    assert list(log.alive()) == [log.allocation_of(on_device)]


def test_tensors_without_memory_count_as_what_they_stand_for_and_meta_tensors_as_nothing() -> None:
    with StorageLog() as log, FakeTensorMode() as log.fake_mode:
        stands_for = torch.empty(1 << 40)
        nothing = torch.empty(1 << 40, device="meta")
        assert alive_bytes(log) == 4 << 40
    assert stands_for.shape == nothing.shape
