"""Which of the trained parameters are multiplied with every token."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from stoker.plan.inventory import Inventory, Method, take_inventory

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.facts import Facts

_MATRICES = ("linear", "experts", "router")


@dataclass(frozen=True)
class TrainedSet:
    """Elements, over all ranks."""

    elements: int
    """That the optimizer updates: adapters and what is trained whole."""
    matmul: float
    """Of those, elements of the model's own matrices in the blocks that one token meets."""
    head: int
    """Of those, elements of the head, be it tied to the embedding."""
    adapter: int
    """Of those, elements of adapters."""


def inventory_of(architecture: Architecture, facts: Facts) -> Inventory:
    """All tensors under a plan's method."""
    method = Method(facts.adapter, facts.quantized, facts.frozen, facts.trained)
    return take_inventory(architecture, method)


def trained_set(architecture: Architecture, facts: Facts) -> TrainedSet:
    """What a plan with these facts trains."""
    return _count(inventory_of(architecture, facts))


@lru_cache(maxsize=256)
def _count(inventory: Inventory) -> TrainedSet:
    architecture = inventory.architecture
    parameters = {parameter.name: parameter for parameter in architecture.parameters}
    vocabulary = (architecture.vocab_size, architecture.hidden_size)
    active = (
        architecture.experts_per_token / architecture.num_experts if architecture.num_experts else 1.0
    )
    matmul, head, adapter = 0.0, 0, 0
    for held in inventory.tensors:
        parameter = parameters[held.name]
        if not held.trained:
            continue
        if held.shape != parameter.shape:  # an adapter goes by the name of what it stands beside
            adapter += held.numel
        elif parameter.role in _MATRICES:
            matmul += held.numel * (active if parameter.role == "experts" else 1.0)
        elif parameter.role == "head" or (architecture.ties_embeddings and held.shape == vocabulary):
            head = held.numel
    return TrainedSet(inventory.trained, matmul, head, adapter)
