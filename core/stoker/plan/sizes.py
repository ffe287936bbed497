"""Bytes of weights, gradients, master weights and optimizer states on one rank. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.plan.facts import Facts, Optimizer
    from stoker.plan.inventory import Inventory
    from stoker.plan.situation import Situation

FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class States:
    """Bytes that live from step to step on the fullest rank, wherever they are."""

    weights: float
    gradients: float
    master_weights: float
    optimizer: float
    largest_update: float
    """Elements of the largest tensor that the optimizer updates at a time."""


def states_of(situation: Situation, facts: Facts, inventory: Inventory) -> States:
    """As the engine's facts say."""
    sharding = facts.sharding
    trained, frozen = share_of(inventory, sharding.weights_over, sharding.by_rows)
    weight_bytes = situation.master_bytes if sharding.weight_bytes is None else sharding.weight_bytes
    packed = 0.0
    if (quantized := facts.quantized) is not None:
        packed = inventory.quantized * quantized.bytes_per_weight
        packed += inventory.quantized_layers * quantized.bytes_per_layer
    whole = _small(inventory, sharding.whole_below, trained_only=False)
    gradient_bytes = sharding.gradient_bytes or situation.master_bytes
    graded, _ = share_of(inventory, sharding.gradients_over, sharding.by_rows)
    updated, _ = share_of(inventory, sharding.states_over, sharding.by_rows)
    state_bytes = sharding.state_bytes or situation.state_bytes
    return States(
        weights=trained * weight_bytes + (frozen + whole) * situation.compute_bytes + packed,
        gradients=graded * gradient_bytes,
        master_weights=updated * sharding.master_bytes,
        optimizer=_moments(inventory, facts.optimizer, updated, state_bytes),
        largest_update=inventory.largest_trained / sharding.states_over,
    )


@lru_cache(maxsize=4096)
def share_of(inventory: Inventory, ranks: int, by_rows: bool) -> tuple[float, float]:
    """(trained, frozen) elements on the fullest rank.

    `by_rows`: each tensor is cut along its first dimension in equal chunks, of which the first ranks
    get all (torch's `Shard(0)`); else all of them are laid end to end and cut evenly.
    """
    if ranks == 1 or not by_rows:
        return inventory.trained / ranks, inventory.frozen / ranks
    trained = frozen = 0
    for held in inventory.tensors:
        part = -(-held.shape[0] // ranks) * prod(held.shape[1:])
        if held.trained:
            trained += part
        elif not held.quantized:
            frozen += part
    return float(trained), float(frozen)


def _moments(inventory: Inventory, optimizer: Optimizer, updated: float, state_bytes: float) -> float:
    item = state_bytes if optimizer.moment_bytes is None else optimizer.moment_bytes
    if optimizer.factored:
        return _factored(inventory) * item
    if not optimizer.scale_block:
        return updated * optimizer.moments * item
    small = _small(inventory, optimizer.smallest_quantized)
    scales = FLOAT32 / optimizer.scale_block
    share = updated / inventory.trained if inventory.trained else 0.0
    large = inventory.trained - small
    return share * optimizer.moments * (large * (item + scales) + small * FLOAT32)


@lru_cache(maxsize=1024)
def _small(inventory: Inventory, smallest: int, *, trained_only: bool = True) -> int:
    """Elements of tensors with fewer than `smallest`."""
    return sum(
        held.numel
        for held in inventory.tensors
        if held.numel < smallest and (held.trained or not trained_only)
    )


@lru_cache(maxsize=1024)
def _factored(inventory: Inventory) -> int:
    """Adafactor's second moment: sums of rows and of columns of a matrix, all of a vector."""
    total = 0
    for held in inventory.tensors:
        if not held.trained:
            continue
        if len(held.shape) < 2:
            total += held.numel
        else:
            *rows, _ = held.shape
            total += prod(rows) + held.numel // rows[-1]
    return total
