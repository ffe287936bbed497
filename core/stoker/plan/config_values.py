"""Sizes and switches of a `config.json`, by whichever of its usual keys. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.errors import UsageError

HIDDEN_SIZE = ("hidden_size", "n_embd", "d_model")
NUM_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
NUM_HEADS = ("num_attention_heads", "n_head", "num_heads")
INTERMEDIATE_SIZE = ("ffn_dim", "ffn_hidden_size", "n_inner", "intermediate_size")
NUM_EXPERTS = ("num_experts", "num_local_experts")
MAX_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx")
ACTIVATION = ("hidden_activation", "hidden_act", "activation_function", "activation")


class ConfigValues:
    """Typed reading of a config. Every method raises `UsageError` naming the key that is in the way."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self._first(HIDDEN_SIZE)

    @property
    def num_layers(self) -> int:
        """Transformer blocks."""
        return self._first(NUM_LAYERS)

    @property
    def num_heads(self) -> int:
        """Query heads."""
        return self._first(NUM_HEADS)

    @property
    def num_key_value_heads(self) -> int:
        """Heads of keys and values; as many as of queries where nothing is said."""
        return self.count("num_key_value_heads", self.num_heads)

    @property
    def head_size(self) -> int:
        """Channels of a head."""
        return self.count("head_dim", self.hidden_size // self.num_heads)

    @property
    def intermediate_size(self) -> int:
        """Width inside the MLP; four times that of the residual stream where nothing is said."""
        return self._first(INTERMEDIATE_SIZE, 4 * self.hidden_size)

    @property
    def num_experts(self) -> int:
        """Of each mixture."""
        return self._first(NUM_EXPERTS)

    @property
    def activation(self) -> str:
        """Name of the MLP's activation function."""
        return str(next((self.config[key] for key in ACTIVATION if key in self.config), "silu"))

    def max_positions(self, *, required: bool) -> int:
        """Longest row; 0 where nothing is said and it is not required."""
        return self._first(MAX_POSITIONS, None if required else 0)

    def rotary_size(self, head_size: int) -> int:
        """Channels of a head that are rotated."""
        if "rotary_dim" in self.config:
            return self.count("rotary_dim")
        nested = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        stated = nested.get("partial_rotary_factor") if isinstance(nested, Mapping) else None
        factor = stated or self.config.get("rotary_pct") or self.number("partial_rotary_factor") or 1.0
        return int(head_size * factor)

    def windows(self, rule: str, full_every: int) -> tuple[int | None, ...]:
        """Positions that each layer sees; None: all of the past."""
        layers = range(self.num_layers)
        window = self.config.get("sliding_window")
        if not window or not self.config.get("use_sliding_window", True):
            return (None,) * len(layers)
        if kinds := self.config.get("layer_types"):
            return tuple(window if kind == "sliding_attention" else None for kind in kinds)
        if full_every:
            every = self.count("sliding_window_pattern", full_every)
            return tuple(window if (layer + 1) % every else None for layer in layers)
        first = {"none": len(layers), "all": 0}.get(rule, self.count("max_window_layers", 0))
        return tuple(window if layer >= first else None for layer in layers)

    def sparse_layers(self) -> frozenset[int]:
        """Layers whose MLP is a mixture of experts."""
        step = self.count("decoder_sparse_step", 1)
        dense = set(self.config.get("mlp_only_layers") or ())
        return frozenset(
            layer for layer in range(self.num_layers) if layer not in dense and (layer + 1) % step == 0
        )

    def is_set(self, switch: bool | str) -> bool:
        """A switch, or the value of the key that it names."""
        return self.flag(switch) if isinstance(switch, str) else switch

    def flag(self, key: str) -> bool:
        """False where nothing is said."""
        return bool(self.config.get(key, False))

    def number(self, key: str) -> float:
        """0 where nothing is said."""
        value = self.config.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"config.json: {key} is {value!r}, not a number.")
        return float(value)

    def count(self, key: str, default: int | None = None) -> int:
        """A positive whole number."""
        return self._first((key,), default)

    def _first(self, keys: tuple[str, ...], default: int | None = None) -> int:
        for key in keys:
            if key in self.config:
                value = self.config[key]
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    raise UsageError(
                        f"config.json: {key} is {value!r}, not a positive whole number.",
                        hint="Is this the config.json of a language model?",
                    )
                return value
        if default is None:
            raise UsageError(
                f"config.json says nothing of {' or '.join(keys)}.",
                hint="Give the config.json of a decoder-only language model.",
            )
        return default
