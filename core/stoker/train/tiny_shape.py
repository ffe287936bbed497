"""Writes a tiny model of a recipe's architecture: `python -m stoker.train.tiny_shape --to FOLDER`.

Without a recipe: that of the test kit, with its tiny Llama and data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker.recipe.lock import read_lock
from stoker.run.directory import RunDirectory
from stoker.testing import tiny_recipe
from stoker.train.build import run_outside_training
from stoker.train.garbage import exit_without_collecting

NUM_LAYERS = 2
NUM_HEADS = 4
HEAD_SIZE = 16
SMALLER = {
    "hidden_size": NUM_HEADS * HEAD_SIZE,
    "n_embd": NUM_HEADS * HEAD_SIZE,
    "intermediate_size": 128,
    "n_inner": 128,
    "moe_intermediate_size": 64,
    "num_hidden_layers": NUM_LAYERS,
    "n_layer": NUM_LAYERS,
    "num_attention_heads": NUM_HEADS,
    "n_head": NUM_HEADS,
    "head_dim": HEAD_SIZE,
    "num_local_experts": 4,
    "num_experts": 4,
}
"""Sizes by their names in `config.json`; a key that a config lacks stays away."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write `model` to the folder; without a recipe `tiny.toml` and its data, too."""
    parser = argparse.ArgumentParser(prog="python -m stoker.train.tiny_shape")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--lock", type=Path, help="recipe.lock.json of the recipe")
    options = parser.parse_args(arguments)
    try:
        if options.lock is None:
            tiny_recipe(options.to)
        else:
            write_shape(options.lock, options.to)
    except StokerError as error:
        print(f"stoker: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def write_shape(lock: Path, folder: Path) -> None:
    """Config and tokenizer of the recipe's model with small sizes, and no weights."""
    run = run_outside_training(read_lock(lock), RunDirectory(folder))
    config = json.loads((run.model_directory / "config.json").read_text())
    directory = folder / "model"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(shrink(config), indent=1))
    run.tokenizer.save_pretrained(directory)


def shrink(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same architecture with two layers of width 64; vocabulary and special features stay.

    Query heads keep their ratio to key-value heads as far as four heads can.
    """
    small = {
        key: min(value, SMALLER[key]) if key in SMALLER and value else value
        for key, value in config.items()
    }
    heads, key_value_heads = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and key_value_heads:
        ratio = min(NUM_HEADS, max(1, heads // key_value_heads))
        small["num_key_value_heads"] = NUM_HEADS // ratio
    if config.get("num_attention_heads", config.get("n_head", NUM_HEADS)) < NUM_HEADS:
        small["num_attention_heads"] = NUM_HEADS
    if isinstance(config.get("layer_types"), list):
        small["layer_types"] = config["layer_types"][:NUM_LAYERS]
    if isinstance(config.get("text_config"), Mapping):
        small["text_config"] = shrink(config["text_config"])
    small.pop("quantization_config", None)
    return small


if __name__ == "__main__":
    exit_without_collecting(main())
