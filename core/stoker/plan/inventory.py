"""Which parameters there are under a method, and which of them are trained. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING

from stoker.plan.surroundings import Weight

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.facts import Adapter, Quantized
    from stoker.plan.parameters import Parameter


_ADAPTED_BY_DEFAULT = ("linear", "experts", "router")
"""PEFT's "all-linear" means these: of a mixture also the weights that are no layers of their own."""


@dataclass(frozen=True)
class Method:
    """The part of `Facts` that says what is trained and what is packed."""

    adapter: Adapter | None = None
    quantized: Quantized | None = None
    frozen: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()

    def freezes(self, name: str) -> bool:
        """By pattern."""
        matches = any(fnmatchcase(name, pattern) for pattern in self.frozen)
        return matches and not any(fnmatchcase(name, pattern) for pattern in self.trained)


@dataclass(frozen=True)
class Held:
    """One tensor as a rank of an unsharded model holds it."""

    name: str
    shape: tuple[int, ...]
    trained: bool
    quantized: bool = False
    block: int | None = None
    part: str = "root"
    """`embedding`, `block`, `head`, or `root` for what is in none of them."""

    @property
    def numel(self) -> int:
        """Elements."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Inventory:
    """All tensors of a model under a method, with sums that are asked for often."""

    architecture: Architecture
    method: Method
    tensors: tuple[Held, ...]
    blocks: tuple[Mapping[str, Weight], ...] = field(repr=False)
    """Weights by name inside the block."""
    head: Weight = field(repr=False, default=Weight(0, trained=False))
    embedding: Weight = field(repr=False, default=Weight(0, trained=False))

    @cached_property
    def trained(self) -> int:
        """Elements that get a gradient."""
        return sum(held.numel for held in self.tensors if held.trained)

    @cached_property
    def frozen(self) -> int:
        """Elements that stay as they are, in the compute dtype."""
        return sum(held.numel for held in self.tensors if not held.trained and not held.quantized)

    @cached_property
    def quantized(self) -> int:
        """Elements in few bits."""
        return sum(held.numel for held in self.tensors if held.quantized)

    @cached_property
    def quantized_layers(self) -> int:
        """Tensors in few bits."""
        return sum(held.quantized for held in self.tensors)

    @cached_property
    def largest_trained(self) -> int:
        """Elements of the largest tensor that is trained."""
        return max((held.numel for held in self.tensors if held.trained), default=0)


@lru_cache(maxsize=256)
def take_inventory(architecture: Architecture, method: Method) -> Inventory:
    """Every tensor, and for each block what its forward has to know."""
    tensors: list[Held] = []
    blocks: list[dict[str, Weight]] = [{} for _ in range(architecture.num_layers)]
    ends: dict[str, Weight] = {}
    for parameter in architecture.parameters:
        weight = _weight(parameter, method, architecture)
        if parameter.block is None:
            ends[parameter.role] = ends.get(parameter.role, weight)
        else:
            blocks[parameter.block][_local_name(parameter, architecture)] = weight
        tensors += _held(parameter, weight, method, architecture)
    head = ends.get("head", ends["embedding"])
    return Inventory(architecture, method, tuple(tensors), tuple(blocks), head, ends["embedding"])


def _local_name(parameter: Parameter, architecture: Architecture) -> str:
    return parameter.name.removeprefix(f"{architecture.family.block}.{parameter.block}.")


def _module(parameter: Parameter) -> str:
    return parameter.name.removesuffix(".weight").removesuffix(".bias")


def _ends_with(module: str, endings: Iterable[str]) -> bool:
    return any(module == ending or module.endswith(f".{ending}") for ending in endings)


def _weight(parameter: Parameter, method: Method, architecture: Architecture) -> Weight:
    adapter = method.adapter
    if adapter is None:
        return Weight(parameter.numel, trained=not method.freezes(parameter.name))
    module = _module(parameter)
    is_weight = parameter.name.endswith(".weight")
    if adapter.targets:
        adapted = is_weight and _ends_with(module, adapter.targets)
    else:
        adapted = parameter.role in _ADAPTED_BY_DEFAULT
    whole = _ends_with(module, adapter.trained_whole)
    return Weight(
        parameter.numel,
        trained=whole,
        quantized=_is_quantized(parameter, method.quantized, architecture),
        adapted=adapted and not whole,
        update_numel=_update_numel(parameter, adapter) if adapted else 0,
        is_layer=parameter.role not in ("experts", "router"),
    )


def _update_numel(parameter: Parameter, adapter: Adapter) -> int:
    *_, outputs, inputs = parameter.shape
    return _update_rank(parameter, adapter) * (inputs + outputs)


def _update_rank(parameter: Parameter, adapter: Adapter) -> int:
    """Each expert of a mixture has an update of its own; where two weights are fused, each of them."""
    fused = 2 if parameter.role == "experts" and parameter.name.endswith("gate_up_proj") else 1
    return adapter.rank * prod(parameter.shape[:-2]) * fused


def _is_quantized(parameter: Parameter, quantized: Quantized | None, architecture: Architecture) -> bool:
    if quantized is None or parameter.role != "linear" or architecture.family.transposed:
        return False
    return parameter.shape[1] % quantized.block == 0 and not _ends_with(
        _module(parameter), quantized.skipped
    )


def _held(
    parameter: Parameter, weight: Weight, method: Method, architecture: Architecture
) -> Iterator[Held]:
    part = _part(parameter, architecture)
    adapter = method.adapter
    if adapter is not None and weight.trained:
        # The original stays beside the copy that is trained.
        yield Held(parameter.name, parameter.shape, False, False, parameter.block, part)
    yield Held(parameter.name, parameter.shape, weight.trained, weight.quantized, parameter.block, part)
    if adapter is not None and weight.adapted:
        *_, outputs, inputs = parameter.shape
        if architecture.family.transposed:
            inputs, outputs = outputs, inputs
        trained = not method.freezes(parameter.name)
        rank = _update_rank(parameter, adapter)
        shapes: list[tuple[int, ...]] = [(rank, inputs), (outputs, rank)]
        shapes += [(outputs,)] if adapter.magnitudes else []
        for shape in shapes:
            yield Held(parameter.name, shape, trained, False, parameter.block, part)


def _part(parameter: Parameter, architecture: Architecture) -> str:
    if parameter.block is not None:
        return "block"
    if parameter.role in ("embedding", "head") and not architecture.ties_embeddings:
        is_positions = parameter.name.startswith(f"{architecture.family.positions}.")
        return "root" if is_positions else parameter.role
    return "root"
