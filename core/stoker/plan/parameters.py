"""Names and shapes of a decoder's parameters, in the order of transformers' modules. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

from stoker.plan.config_values import ConfigValues

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture

Role = Literal["embedding", "head", "linear", "norm", "bias", "experts", "router", "other"]


@dataclass(frozen=True)
class Parameter:
    """One tensor of a model."""

    name: str
    """As transformers names it: `model.layers.0.self_attn.q_proj.weight`."""
    shape: tuple[int, ...]
    role: Role
    """`linear`: the weight of an `nn.Linear` (or GPT-2's Conv1D), which adapters may be put on."""
    block: int | None = None
    """Number of the transformer block that it belongs to."""

    @cached_property
    def numel(self) -> int:
        """Elements."""
        return prod(self.shape)


def list_parameters(architecture: Architecture) -> tuple[Parameter, ...]:
    """All of them, a tied head not."""
    family, width = architecture.family, architecture.hidden_size
    vocabulary = (architecture.vocab_size, width)
    listed = [Parameter(f"{family.embedding}.weight", vocabulary, "embedding")]
    if family.positions:
        rows = architecture.max_positions + family.extra_positions
        listed.append(Parameter(f"{family.positions}.weight", (rows, width), "embedding"))
    for layer in range(architecture.num_layers):
        listed += _block(architecture, layer)
    listed += _norm(architecture, family.final_norm, width)
    if not architecture.ties_embeddings:
        listed.append(Parameter(f"{family.head}.weight", vocabulary, "head"))
    if family.head_bias:
        listed.append(Parameter(f"{family.head}.bias", (architecture.vocab_size,), "bias"))
    return tuple(listed)


def _block(architecture: Architecture, layer: int) -> Iterator[Parameter]:
    family, width = architecture.family, architecture.hidden_size
    parts = [*_attention(architecture)]
    parts += _experts(architecture) if layer in architecture.sparse_layers else _mlp(architecture)
    for name in (
        family.attention_norm,
        family.after_attention_norm,
        family.mlp_norm,
        family.after_mlp_norm,
    ):
        parts += _norm(architecture, name, width)
    for part in parts:
        yield replace(part, name=f"{family.block}.{layer}.{part.name}", block=layer)


def _attention(architecture: Architecture) -> Iterator[Parameter]:
    family, width, values = (
        architecture.family,
        architecture.hidden_size,
        ConfigValues(architecture.config),
    )
    queries = architecture.attention_width
    keys = architecture.num_key_value_heads * architecture.head_size
    bias = values.is_set(family.qkv_bias)
    if family.fused_qkv:
        yield from _linear(architecture, family.fused_qkv, width, queries + 2 * keys, bias)
    else:
        yield from _linear(architecture, family.query, width, queries, bias)
        yield from _linear(architecture, family.key, width, keys, bias)
        yield from _linear(architecture, family.value, width, keys, bias)
    output_bias = values.is_set(family.output_bias)
    yield from _linear(architecture, family.output, queries, width, output_bias)
    over_all = family.qk_norm_over == "all_heads"
    for name, channels in ((family.query_norm, queries), (family.key_norm, keys)):
        yield from _norm(architecture, name, channels if over_all else architecture.head_size)


def _mlp(architecture: Architecture) -> Iterator[Parameter]:
    family, width, inner = (
        architecture.family,
        architecture.hidden_size,
        architecture.intermediate_size,
    )
    bias = ConfigValues(architecture.config).is_set(family.mlp_bias)
    if family.fused_gate_up:
        yield from _linear(architecture, family.fused_gate_up, width, 2 * inner, bias)
    else:
        for name in filter(None, (family.gate, family.up)):
            yield from _linear(architecture, name, width, inner, bias)
    yield from _linear(architecture, family.down, inner, width, bias)


def _experts(architecture: Architecture) -> Iterator[Parameter]:
    family, width = architecture.family, architecture.hidden_size
    number, inner = architecture.num_experts, architecture.expert_size
    yield Parameter(f"{family.router}.weight", (number, width), "router")
    yield Parameter(f"{family.experts}.gate_up_proj", (number, 2 * inner, width), "experts")
    yield Parameter(f"{family.experts}.down_proj", (number, width, inner), "experts")
    if family.shared_expert:
        shared = architecture.shared_expert_size
        yield from _linear(architecture, f"{family.shared_expert}.gate_proj", width, shared, False)
        yield from _linear(architecture, f"{family.shared_expert}.up_proj", width, shared, False)
        yield from _linear(architecture, f"{family.shared_expert}.down_proj", shared, width, False)
    if family.shared_gate:
        yield from _linear(architecture, family.shared_gate, width, 1, False)


def _linear(
    architecture: Architecture, name: str, inputs: int, outputs: int, bias: bool
) -> Iterator[Parameter]:
    shape = (inputs, outputs) if architecture.family.transposed else (outputs, inputs)
    yield Parameter(f"{name}.weight", shape, "linear")
    if bias:
        yield Parameter(f"{name}.bias", (outputs,), "bias")


def _norm(architecture: Architecture, name: str, width: int) -> Iterator[Parameter]:
    if not name or architecture.family.norm == "layer_without_weight":
        return
    yield Parameter(f"{name}.weight", (width,), "norm")
    if architecture.family.norm_bias:
        yield Parameter(f"{name}.bias", (width,), "norm")
