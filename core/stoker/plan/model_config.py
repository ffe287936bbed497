"""Finds the `config.json` of a recipe's model without torch and without the network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import UsageError
from stoker.plan.models import find_model_config, known_models
from stoker.recipe.model_checks import read_config
from stoker.recipe.problems import did_you_mean

if TYPE_CHECKING:
    from stoker.dispatch import Hooks
    from stoker.recipe.model import Recipe


def model_config(recipe: Recipe, hooks: Hooks) -> Mapping[str, Any]:
    """What is known of the model: a plugin's word, its directory, the hub's cache, or our own table.

    Raises `UsageError` where nothing is.
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
    for snapshot in _snapshots(path, recipe.model.revision):
        return _read(snapshot)
    return named_config(path)


def named_config(name: str) -> Mapping[str, Any]:
    """The config of a well-known model, by our name for it or by a hub id that ends like it.

    Raises `UsageError`, with the nearest name, where our table has none.
    """
    plain = name.rpartition("/")[2].lower()
    config = find_model_config(plain)
    if config is not None:
        return config
    raise UsageError(
        f"nothing is known of model {name!r}: it is no directory with a config.json, not in the hub's "
        "cache on this machine, and not in stoker's table.",
        hint=did_you_mean(plain, known_models())
        or "Give a directory that holds its config.json (the weights need not be there).",
    )


def _read(directory: Path) -> Mapping[str, Any]:
    try:
        return read_config(directory)
    except FileNotFoundError as error:
        raise UsageError(
            f"model.path: {directory} has no config.json.", hint="Put the model's config.json there."
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"model.path: {directory}/config.json: {error}.") from error


def _snapshots(model: str, revision: str | None) -> Iterator[Path]:
    """Downloaded snapshots of a hub id, the asked revision's or the newest ones.

    Layout of the hub's cache: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
    """
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    folder = cache / f"models--{model.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    wanted = reference.read_text().strip() if reference.is_file() else revision
    found = [folder / "snapshots" / wanted] if wanted else []
    yield from (each for each in found if (each / "config.json").is_file())
