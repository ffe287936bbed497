"""Names and shapes of a model's tensors from the headers of its safetensors files. Torch-free.

For families that no rule of ours describes: what there is says how the model is put together.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from stoker.errors import UsageError
from stoker.plan.architecture import Architecture, read_architecture
from stoker.plan.families import GUESS, Family

Shapes = Mapping[str, tuple[int, ...]]

_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
"""Bytes; as the format's own reader has it."""
_IN_BLOCK = re.compile(r"(?P<block>.+?)\.\d+\.(?P<local>.+)\.(?P<kind>weight|bias)")


def read_shapes(directory: Path) -> Shapes:
    """Shapes of all tensors in a directory's safetensors files, by name.

    Raises `UsageError` for a file that is none.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(_files(directory)):
        shapes |= _header(path)
    return shapes


def _files(directory: Path) -> Iterator[Path]:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        yield from directory.glob("model*.safetensors")
        return
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{index} is no index of safetensors files: {error}.") from error
    for name in set(named):
        yield directory / Path(name).name


def _header(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Eight bytes of length, then JSON: name -> dtype, shape and place."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 0 < length <= _LARGEST_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header: dict[str, Any] = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, tuple(int(size) for size in tensor["shape"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no safetensors file: {error}.") from error


def from_weights_header(config: Mapping[str, Any], shapes: Shapes) -> Architecture:
    """As `read_architecture`; a family that is a guess is guessed by the names of its tensors.

    Raises `UsageError` as `read_architecture` does.
    """
    architecture = read_architecture(config)
    if not architecture.is_guess or not shapes:
        return architecture
    family = guess_family(shapes, architecture.head_size)
    if family is None:
        return architecture
    return replace(read_architecture(config, family), is_guess=True)


def guess_family(shapes: Shapes, head_size: int) -> Family | None:
    """How a decoder with these tensors is put together; None for one that is no such decoder."""
    found = [match for name in shapes if (match := _IN_BLOCK.fullmatch(name))]
    if not found:
        return None
    block = Counter(match["block"] for match in found).most_common(1)[0][0]
    inside = [match for match in found if match["block"] == block]
    modules = {match["local"] for match in inside}
    biases = {match["local"] for match in inside if match["kind"] == "bias"}
    names = _modules(modules)
    if not names["down"] or not (names["query"] or names["fused_qkv"]):
        return None
    known = {field.name for field in fields(Family)}
    ends = {role: _end(shapes, block, endings) for role, endings in _ENDS.items()}
    query_norm = names["query_norm"]
    norm_size = shapes.get(f"{block}.0.{query_norm}.weight", (head_size,))[0]
    has_norm_bias = any("norm" in name for name in biases)
    details: dict[str, Any] = {role: name for role, name in names.items() if role in known}
    details |= _norms(modules) | {role: name for role, name in ends.items() if name}
    details |= {
        "block": block,
        "qkv_bias": bool({names["query"], names["fused_qkv"]} & biases),
        "output_bias": names["output"] in biases,
        "mlp_bias": names["down"] in biases,
        "norm": "layer" if has_norm_bias else "rms",
        "norm_bias": has_norm_bias,
        "qk_norm_over": "head" if norm_size == head_size else "all_heads",
    }
    return replace(GUESS, **details)


_MODULES: Mapping[str, tuple[str, ...]] = {
    "query": ("q_proj", "wq"),
    "key": ("k_proj", "wk"),
    "value": ("v_proj", "wv"),
    "fused_qkv": ("qkv_proj", "query_key_value", "Wqkv"),
    "output": ("o_proj", "attn.out_proj", "self_attn.dense", "attention.dense", "wo"),
    "query_norm": ("q_norm", "query_layernorm", "q_layernorm"),
    "key_norm": ("k_norm", "key_layernorm", "k_layernorm"),
    "gate": ("mlp.gate_proj", "feed_forward.w1"),
    "up": ("mlp.up_proj", "mlp.fc1", "mlp.dense_h_to_4h", "feed_forward.w3"),
    "fused_gate_up": ("mlp.gate_up_proj",),
    "down": ("mlp.down_proj", "mlp.fc2", "mlp.dense_4h_to_h", "feed_forward.w2"),
}
"""Endings of the names that modules go by, by field of `Family`."""
_ENDS: Mapping[str, tuple[str, ...]] = {
    "embedding": ("embed_tokens", "wte", "embed_in", "word_embeddings"),
    "final_norm": ("norm", "final_layernorm", "ln_f", "final_layer_norm"),
    "head": ("lm_head", "embed_out"),
}


def _modules(modules: set[str]) -> dict[str, str]:
    """Field of `Family` -> the module there is, or nothing."""
    return {
        field: next((m for m in sorted(modules) if m.endswith(endings)), "")
        for field, endings in _MODULES.items()
    }


def _norms(modules: set[str]) -> dict[str, str]:
    """Where the residual stream is normalised: two names mean one thing or another by the others."""
    first = _one_of(modules, "input_layernorm", "attention_layernorm", "attention_norm", "ln_1")
    sandwiched = "pre_feedforward_layernorm" in modules
    after = "post_attention_layernorm" if sandwiched or not first else ""
    second: tuple[str, ...] = (
        *("pre_feedforward_layernorm", "feedforward_layernorm", "ffn_norm", "ln_2"),
    )
    if not after:
        second = (*second, "post_attention_layernorm")
    return {
        "attention_norm": first,
        "after_attention_norm": after if after in modules else "",
        "mlp_norm": _one_of(modules, *second),
        "after_mlp_norm": _one_of(modules, "post_feedforward_layernorm", "post_mlp_layernorm"),
    }


def _one_of(modules: set[str], *names: str) -> str:
    return next((name for name in names if name in modules), "")


def _end(shapes: Shapes, block: str, endings: tuple[str, ...]) -> str:
    outside = (name.removesuffix(".weight") for name in shapes if not name.startswith(f"{block}."))
    return next((name for name in outside if name.rpartition(".")[2] in endings), "")
