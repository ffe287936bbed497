"""A model's parameters and layers, read from the dictionary of its `config.json`. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from stoker.plan.config_values import ConfigValues
from stoker.plan.families import GUESS, Family, families
from stoker.plan.parameters import Parameter, Role, list_parameters

__all__ = ["Architecture", "Parameter", "Role", "read_architecture"]


@dataclass(frozen=True, eq=False)
class Architecture:
    """What the plan knows of a model. Equal to itself only, so that sums over it can be remembered."""

    model_type: str
    config: Mapping[str, Any]
    """With what transformers assumes where config.json says nothing."""
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
    """0 where config.json does not say and nothing depends on it."""
    ties_embeddings: bool
    is_guess: bool = False
    """An architecture that no rule of ours describes: read as a Llama with these sizes."""
    family: Family = GUESS
    activation: str = "silu"
    rotary_size: int = 0
    """Channels of a head that are rotated."""
    windows: tuple[int | None, ...] = ()
    """Positions that each layer sees; None: the whole past."""
    num_experts: int = 0
    experts_per_token: int = 0
    expert_size: int = 0
    """Width of one expert."""
    shared_expert_size: int = 0
    sparse_layers: frozenset[int] = frozenset()
    """Layers whose MLP is a mixture of experts."""
    parallel: bool = False
    dropouts: Mapping[str, float] = field(default_factory=dict)
    """Probabilities that are not 0, by where dropout is."""

    @property
    def scales_logits(self) -> bool:
        """Whether the model multiplies or divides what its head gives."""
        return bool(self.family.logits_scale) and self.config.get(self.family.logits_scale, 1.0) != 1.0

    @property
    def changes_logits(self) -> bool:
        """Whether it does anything with what its head gives."""
        return self.family.logit_softcap or self.scales_logits

    @cached_property
    def num_parameters(self) -> int:
        """Elements of all parameters."""
        return sum(parameter.numel for parameter in self.parameters)

    @cached_property
    def num_active_parameters(self) -> int:
        """Those that one token meets: of a mixture its chosen experts only."""
        return self.num_parameters - self._idle

    @cached_property
    def matmul_parameters(self) -> int:
        """Active parameters that are multiplied with every token: no look-ups, norms and biases.

        The head counts once, tied to the embedding or not.
        """
        kinds = ("linear", "experts", "router", "head")
        total = sum(p.numel for p in self.parameters if p.role in kinds)
        tied = self.vocab_size * self.hidden_size if self.ties_embeddings else 0
        return total + tied - self._idle

    @cached_property
    def block_parameters(self) -> int:
        """Elements of the largest transformer block."""
        blocks = [0] * self.num_layers
        for parameter in self.parameters:
            if parameter.block is not None:
                blocks[parameter.block] += parameter.numel
        return max(blocks)

    @property
    def attention_width(self) -> int:
        """Channels of all query heads together."""
        return self.num_heads * self.head_size

    @cached_property
    def _idle(self) -> int:
        """Elements of the experts that a token does not meet."""
        if not self.num_experts:
            return 0
        experts = sum(p.numel for p in self.parameters if p.role == "experts")
        return experts * (self.num_experts - self.experts_per_token) // self.num_experts


def read_architecture(config: Mapping[str, Any], guessed: Family = GUESS) -> Architecture:
    """The architecture that transformers builds from a `config.json`.

    Of a model with several modalities, its text model. `guessed`: what an unknown family is taken for.
    Raises `UsageError` for a key that is missing or of the wrong type, with its name.
    """
    nested = config.get("text_config")
    is_nested = isinstance(nested, Mapping)
    text = nested if isinstance(nested, Mapping) else config
    model_type = str(text.get("model_type") or config.get("model_type") or "unknown")
    family = families().get(model_type)
    kind = family or guessed
    values = ConfigValues({**kind.defaults, **_stated(text)})
    architecture = _without_parameters(model_type, kind, values, is_guess=is_nested or family is None)
    return replace(architecture, parameters=list_parameters(architecture))


def _stated(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}


def _without_parameters(
    model_type: str, kind: Family, values: ConfigValues, *, is_guess: bool
) -> Architecture:
    hidden_size, num_layers, num_heads = values.hidden_size, values.num_layers, values.num_heads
    num_experts = values.num_experts if kind.experts else 0
    head_size = hidden_size // num_heads if kind.ignores_head_dim else values.head_size
    return Architecture(
        model_type=model_type,
        config=values.config,
        parameters=(),
        num_layers=num_layers,
        hidden_size=hidden_size,
        intermediate_size=values.intermediate_size,
        num_heads=num_heads,
        num_key_value_heads=_key_value_heads(kind, values),
        head_size=head_size,
        vocab_size=values.count("vocab_size"),
        max_positions=values.max_positions(required=bool(kind.positions)),
        ties_embeddings=values.flag("tie_word_embeddings"),
        is_guess=is_guess,
        family=kind,
        activation=values.activation,
        rotary_size=0 if kind.rotary == "none" else values.rotary_size(head_size),
        windows=values.windows(kind.windows, kind.full_every),
        num_experts=num_experts,
        experts_per_token=values.count("num_experts_per_tok") if num_experts else 0,
        expert_size=values.count(kind.expert_width_key) if num_experts else 0,
        shared_expert_size=values.count(kind.shared_width_key) if kind.shared_expert else 0,
        sparse_layers=values.sparse_layers() if num_experts else frozenset(),
        parallel=values.is_set(kind.parallel),
        dropouts={place: p for place, key in kind.dropouts.items() if (p := values.number(key))},
    )


def _key_value_heads(family: Family, values: ConfigValues) -> int:
    if family.one_key_value_head and values.flag(family.one_key_value_head):
        return 1
    return values.num_heads if family.ignores_key_value_heads else values.num_key_value_heads
