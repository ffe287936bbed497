"""How the decoders of a model family are put together: data of `families.toml`. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

import tomli

NormKind = Literal["rms", "rms_fp32_weight", "gemma", "cohere", "layer", "layer_without_weight"]
Bias = bool | str
"""Whether there is one, or the key of config.json that says so."""


@dataclass(frozen=True)
class Family:
    """Modules of a decoder by the names that transformers gives them; the defaults are Llama's.

    Names of a block's modules are relative to the block. An empty name: there is no such module.
    """

    embedding: str = "model.embed_tokens"
    positions: str = ""
    """A table of learned positions."""
    extra_positions: int = 0
    """Rows of that table beyond the number of positions."""
    block: str = "model.layers"
    final_norm: str = "model.norm"
    head: str = "lm_head"
    head_bias: bool = False
    scales_embedding: bool = False
    logit_softcap: bool = False
    logits_scale: str = ""
    """The key of config.json that says by what logits are scaled."""

    norm: NormKind = "rms"
    norm_bias: bool = False
    attention_norm: str = "input_layernorm"
    """Of what attention takes in; `after_...` of what it gives, before the residual is added."""
    after_attention_norm: str = ""
    mlp_norm: str = "post_attention_layernorm"
    after_mlp_norm: str = ""
    parallel: Bias = False
    """Attention and MLP both start from the block's input."""

    query: str = "self_attn.q_proj"
    key: str = "self_attn.k_proj"
    value: str = "self_attn.v_proj"
    fused_qkv: str = ""
    output: str = "self_attn.o_proj"
    transposed: bool = False
    """Weights are [inputs, outputs], in modules that are no `nn.Linear` (GPT-2's Conv1D)."""
    qkv_bias: Bias = "attention_bias"
    output_bias: Bias = "attention_bias"
    query_norm: str = ""
    key_norm: str = ""
    qk_norm_over: Literal["head", "all_heads"] = "head"
    ignores_head_dim: bool = False
    ignores_key_value_heads: bool = False
    one_key_value_head: str = ""
    """The key of config.json that says there is a single one (multi-query attention)."""
    rotary: Literal["whole", "partial", "none"] = "whole"
    rotary_tables: int = 1
    attention: str = ""
    """The implementation that transformers takes where nothing is said; empty: sdpa."""
    attention_softcap: bool = False
    windows: Literal["none", "all", "last"] = "none"
    """Layers that see `sliding_window` positions: all, or those from `max_window_layers` on."""
    full_every: int = 0
    """Every so many layers one sees the whole past; the others a window."""

    gate: str = "mlp.gate_proj"
    up: str = "mlp.up_proj"
    fused_gate_up: str = ""
    down: str = "mlp.down_proj"
    mlp_bias: Bias = "mlp_bias"
    dropouts: Mapping[str, str] = field(default_factory=lambda: {"attention": "attention_dropout"})
    """Keys of config.json, by where dropout is: `embedding`, `attention`, `residual`."""

    experts: str = ""
    """A mixture of experts, as fused three-dimensional weights `gate_up_proj` and `down_proj`."""
    router: str = ""
    routes_in_float32: bool = False
    """Probabilities of the chosen experts stay in float32; else in the dtype of the router's scores."""
    expert_width_key: str = ""
    shared_expert: str = ""
    shared_width_key: str = ""
    shared_gate: str = ""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What transformers assumes of a config.json that does not say."""


GUESS = Family()
"""What an unknown model is taken for: a Llama with its sizes."""


@cache
def families() -> Mapping[str, Family]:
    """All that are known, by `model_type`."""
    text = resources.files("stoker.plan").joinpath("families.toml").read_text(encoding="utf-8")
    return {name: Family(**table) for name, table in tomli.loads(text).items()}
