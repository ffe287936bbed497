"""What a model's config.json says about a recipe: is the sequence length one it was made for?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker.recipe.problems import Fix, Problem

_POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_LARGEST_FACTOR = 1e6
# Kinds of rope scaling whose factor is not yet in max_position_embeddings.
_STRETCHING = frozenset({"linear", "dynamic", "yarn"})


def model_problems(tables: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong between a recipe and a local model; looks at tables that need not be valid."""
    model, data = tables.get("model"), tables.get("data")
    path = model.get("path") if isinstance(model, Mapping) else None
    if not isinstance(path, str) or not os.path.isabs(path) or not os.path.isfile(f"{path}/config.json"):
        return
    try:
        config = read_config(Path(path))
    except (OSError, ValueError) as error:
        yield Problem(key="model.path", message=f"{path}/config.json: {error}.")
        return
    length = data.get("sequence_length") if isinstance(data, Mapping) else None
    if isinstance(length, int) and (message := too_long(config, length)):
        fix = shorter_fix(config)
        yield Problem(
            key="data.sequence_length", message=f"found {message}", hint=TOO_LONG_HINT, fix=fix
        )


TOO_LONG_HINT = "Lower it, or stretch the model's positions in its config.json (rope_scaling)."


def too_long(config: Mapping[str, Any], sequence_length: int) -> str:
    """What is wrong with a sequence length for a model; empty when nothing is."""
    limit = longest_sequence(config)
    if limit is None or sequence_length <= limit:
        return ""
    return f"{sequence_length:,} tokens, more than the {limit:,} positions that the model knows."


def shorter_fix(config: Mapping[str, Any]) -> Fix | None:
    """The longest sequence that a model knows."""
    limit = longest_sequence(config)
    return None if limit is None else Fix(action="set", key="data.sequence_length", value=limit)


def longest_sequence(config: Mapping[str, Any]) -> int | None:
    """Positions that a model knows by its config.json; None where it has no such limit.

    Keys and their meaning: https://huggingface.co/docs/transformers/main_classes/configuration and,
    for rope scaling, https://huggingface.co/docs/transformers/internal/rope_utils.
    """
    text_config = config.get("text_config")
    if isinstance(text_config, Mapping):
        config = text_config
    stated = [config[key] for key in _POSITION_KEYS if isinstance(config.get(key), int)]
    if not stated or min(stated) <= 0:
        return None
    scaling = config.get("rope_scaling") or config.get("rope_parameters")
    return _stretched(min(stated), scaling if isinstance(scaling, Mapping) else {})


def _stretched(limit: int, scaling: Mapping[str, Any]) -> int:
    kind = scaling.get("rope_type", scaling.get("type"))
    factor = scaling.get("factor")
    if not isinstance(kind, str) or kind not in _STRETCHING or not isinstance(factor, (int, float)):
        return limit
    if not 0 < factor < _LARGEST_FACTOR:
        # JSON can state what is beyond all measure.
        return limit
    original = scaling.get("original_max_position_embeddings")
    return int((original if isinstance(original, int) else limit) * factor)


def read_config(directory: Path) -> Mapping[str, Any]:
    """A model's config.json. Raises `OSError`, and `ValueError` where it holds no JSON object."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(config, Mapping):
        raise ValueError("no JSON object")
    return config
