"""The parts of a model that are gathered, freed and reduced as one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import nn

from stoker.errors import PluginError
from stoker.train.blocks import find_blocks


@dataclass(frozen=True)
class Parts:
    """Modules in the order of the forward pass; whatever is in none of them stays with the root."""

    embedding: nn.Module | None
    """None where its weight is tied to the head: the root then holds the shared one."""
    blocks: list[nn.Module]
    head: nn.Module | None
    num_entangled: int
    """Blocks that share parameters with each other and so cannot be parts."""

    @property
    def in_order(self) -> list[nn.Module]:
        """All of them, as the forward pass comes to them."""
        return [part for part in (self.embedding, *self.blocks, self.head) if part is not None]


def find_parts(model: nn.Module, block_class: str | None) -> Parts:
    """Blocks, and embedding and head where they have parameters of their own.

    Raises `PluginError` for a block class that does not exist and for what cannot be sharded.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() == 0:
            raise PluginError(
                f"plugins.fsdp: parameter {name!r} is a single number, which cannot be sharded.",
                hint="Use the default engine for this model.",
            )
    blocks = [block for _, block in find_blocks(model, block_class, key="plugins.fsdp.block_class")]
    uses = _uses(model)
    own = [block for block in blocks if _is_apart(block, uses)]
    inside = {module for block in blocks for module in block.modules()}
    embedding, head = (
        end if end is not None and end not in inside and _is_apart(end, uses) else None
        for end in (_end(model, "get_input_embeddings"), _end(model, "get_output_embeddings"))
    )
    return Parts(embedding, own, head, len(blocks) - len(own))


def _end(model: nn.Module, method: str) -> nn.Module | None:
    find: Any = getattr(model, method, lambda: None)
    found = find()
    return found if isinstance(found, nn.Module) else None


def _uses(module: nn.Module) -> Counter[int]:
    """How many names each parameter has, by identity."""
    return Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))


def _is_apart(part: nn.Module, uses: Counter[int]) -> bool:
    """Whether a module has parameters, and none that is used outside it too."""
    inside = _uses(part)
    return bool(inside) and all(uses[parameter] == count for parameter, count in inside.items())
