"""Peaks, from changes written by hand."""

from __future__ import annotations

import torch

from stoker.train.measuring.peaks import described, peaks
from stoker.train.measuring.storages import Allocation, Change


def allocation(operation: str = "made") -> Allocation:
    return Allocation(operation, (2,), torch.float32, "forward", has_gradients=True)


def test_each_moment_has_the_peak_that_was_in_it() -> None:
    kept, passing, gradient = allocation(), allocation(), allocation()
    changes = [
        Change("forward", kept, 10),
        Change("forward", passing, 5),
        Change("forward", passing, -5),
        Change("backward", gradient, 20),
        Change("backward", kept, -10),
    ]
    held = peaks({}, changes)
    assert held == {"forward": {kept: 10, passing: 5}, "backward": {kept: 10, gradient: 20}}


def test_a_moment_begins_with_what_was_left_to_it() -> None:
    weight, kept = allocation(), allocation()
    changes = [Change("forward", kept, 10), Change("update", kept, -10)]
    assert peaks({weight: 7}, changes)["update"] == {weight: 7, kept: 10}


def test_storages_of_one_kind_stand_together_largest_first() -> None:
    small, twins = allocation("aten.mm"), [allocation("aten.add"), allocation("aten.add")]
    found = described({small: 8, twins[0]: 8, twins[1]: 8}, lambda _: "activations")
    assert [(each.operation, each.count, each.num_bytes) for each in found] == [
        ("aten.add", 2, 16),
        ("aten.mm", 1, 8),
    ]
