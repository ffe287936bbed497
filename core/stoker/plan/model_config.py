"""Finds the `config.json` of a recipe's model without torch and without the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.plan.models import find_model_config
from stoker.recipe.model_checks import read_config

if TYPE_CHECKING:
    from stoker.dispatch import Hooks
    from stoker.recipe.model import Recipe


def model_config(recipe: Recipe, hooks: Hooks) -> Mapping[str, Any]:
    """What is known of the model: a plugin's word, its directory, the hub's cache, or our own table.

    Raises `UsageError` where nothing is, with the nearest names of the table.
    """
    path = recipe.model.path
    owner, separator, _ = path.partition(":")
    if separator and owner in hooks.plugins:
        found: Mapping[str, Any] | None = hooks.own(
            "describe_model", lambda: None, plugin=owner, recipe=recipe
        )
        if found is not None:
            return found
        raise UsageError(f"model.path: plugin {owner!r} does not say what {path!r} looks like.")
    if Path(path).is_dir():
        return _read(Path(path))
    snapshot = _snapshot(path, recipe.model.revision)
    return find_model_config(path) if snapshot is None else _read(snapshot)


def _read(directory: Path) -> Mapping[str, Any]:
    try:
        return read_config(directory)
    except FileNotFoundError as error:
        raise UsageError(
            f"model.path: {directory} has no config.json.", hint="Put the model's config.json there."
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"model.path: {directory}/config.json: {error}.") from error


def _snapshot(model: str, revision: str | None) -> Path | None:
    """Where the hub's cache has a hub id, in the asked revision or as last downloaded.

    Layout of the hub's cache: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = Path(os.environ.get("HF_HOME", caches / "huggingface"))
    folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{model.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    wanted = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / wanted if wanted else None
    return snapshot if snapshot and (snapshot / "config.json").is_file() else None
