"""Checks of an adapter to start from, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.recipe.problems import Problem

if TYPE_CHECKING:
    from stoker_plugins.lora import LoraConfig

KEY = "plugins.lora.start_from"
# What PEFT takes where an adapter_config.json, perhaps of an earlier version, does not say it.
DEFAULTS = {
    "r": 8,
    "lora_alpha": 8,
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
}


def start_problems(config: LoraConfig, directory: Path) -> list[Problem]:
    """What keeps `directory` from being the beginning of this adapter."""
    description = directory / "adapter_config.json"
    if not description.is_file() or not (directory / "adapter_model.safetensors").is_file():
        return [
            Problem(
                key=KEY,
                message=f"{directory} is no PEFT adapter: it lacks adapter_config.json or "
                "adapter_model.safetensors.",
                hint="Give the directory that `stoker export` or `save_pretrained` wrote.",
            )
        ]
    try:
        found = json.loads(description.read_text())
        shape = {key: found.get(key, default) for key, default in DEFAULTS.items()}
    except (OSError, ValueError, AttributeError) as error:
        return [Problem(key=KEY, message=f"{description} cannot be read: {error}.")]
    wanted = {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rslora,
        "use_dora": config.dora,
        "rank_pattern": {},
        "alpha_pattern": {},
    }
    return [
        Problem(
            key=KEY,
            message=f"the adapter has {key} = {shape[key]!r}, the recipe asks for {value!r}.",
            hint="An adapter goes on with the shape and scaling that it was trained with.",
        )
        for key, value in wanted.items()
        if shape[key] != value
    ]
