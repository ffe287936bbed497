"""A model's parameters and layers, read from the dictionary of its `config.json`. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["embedding", "head", "linear", "norm", "bias", "experts", "router", "other"]


@dataclass(frozen=True)
class Parameter:
    """One tensor of a model."""

    name: str
    """As transformers names it: `model.layers.0.self_attn.q_proj.weight`."""
    shape: tuple[int, ...]
    role: Role
    block: int | None = None
    """Number of the transformer block that it belongs to."""

    @property
    def numel(self) -> int:
        """Elements."""
        product = 1
        for length in self.shape:
            product *= length
        return product


@dataclass(frozen=True)
class Architecture:
    """What the plan knows of a model."""

    model_type: str
    config: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    """Tied ones once, under the embedding's name."""
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    vocab_size: int
    max_positions: int
    ties_embeddings: bool
    is_guess: bool = False
    """An architecture that no rule of ours describes: read as a Llama with these sizes."""

    @property
    def num_parameters(self) -> int:
        """Elements of all parameters."""
        return sum(parameter.numel for parameter in self.parameters)
