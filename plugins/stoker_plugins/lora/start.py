"""Checks of an adapter to start from, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.recipe.problems import Problem

if TYPE_CHECKING:
    from stoker_plugins.lora import LoraConfig

KEY = "plugins.lora.start_from"


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
    found = json.loads(description.read_text())
    wanted = {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rslora,
        "use_dora": config.dora,
    }
    return [
        Problem(
            key=KEY,
            message=f"the adapter has {key} = {found.get(key)!r}, the recipe asks for {value!r}.",
            hint="An adapter goes on with the shape and scaling that it was trained with.",
        )
        for key, value in wanted.items()
        if found.get(key) != value
    ]
