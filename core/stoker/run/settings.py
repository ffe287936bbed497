"""What of a run's recipe tells it apart from others: model and method. The lock is read unchecked."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.run.directory import RunDirectory
from stoker.run.lines import clean


@dataclass(frozen=True)
class Settings:
    """Empty where the recipe cannot be read."""

    model: str = ""
    """The last part of its path."""
    method: str = ""
    """`full`, `lora r16`, `qlora r16 fsdp`: what is trained, and the engine if it is not the default."""


def read_settings(directory: RunDirectory) -> Settings:
    """Model and method, of the lock or else of the recipe; empty where neither can be read."""
    values = read_values(directory)
    model = values.get("model")
    path = model.get("path") if isinstance(model, dict) else None
    plugins = values.get("plugins")
    return Settings(
        model=clean(str(path or "")).rstrip("/").rpartition("/")[2],
        method=_method(plugins if isinstance(plugins, dict) else {}) if values else "",
    )


def read_values(directory: RunDirectory) -> dict[str, Any]:
    """The recipe's tables as resolved; without a lock, as stated. Empty where neither can be read."""
    try:
        return _table(json.loads(directory.lock_path.read_bytes())["values"])
    except (OSError, ValueError, TypeError, KeyError):
        pass
    try:
        return tomllib.loads(directory.recipe_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _table(values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError("not an object")
    return values


def _method(plugins: Mapping[str, Any]) -> str:
    """By the names of plugins that come with stoker; others do not change what a run is called."""
    on = {
        name: table
        for name, table in plugins.items()
        if isinstance(table, dict) and table.get("enabled", True)
    }
    words = [_trained(on)]
    if "fsdp" in on:
        words.append("fsdp")
    if "zero" in on:
        words.append(f"zero{on['zero'].get('stage', '')}")
    return clean(" ".join(words))


def _trained(on: Mapping[str, Mapping[str, Any]]) -> str:
    if "lora" not in on:
        return "freeze" if "freeze" in on else "full"
    name = "dora" if on["lora"].get("dora") else "lora"
    rank = on["lora"].get("rank")
    return f"{'q' * ('qlora' in on)}{name}" + (f" r{rank}" if rank else "")
