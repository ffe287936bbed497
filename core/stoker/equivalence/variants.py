"""Makes the recipe of each setting out of one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from stoker.capabilities import situation
from stoker.dispatch import STAGE_HOOKS
from stoker.equivalence.settings import NEUTRAL_AXES, Setting
from stoker.matrix import with_folder
from stoker.recipe.loading import load_recipe
from stoker.recipe.model import Recipe
from stoker.registry import load_plugin_class

COMPARED_AXES = ("engine", "compile", *NEUTRAL_AXES)
_SHAPES_TRAINING = STAGE_HOOKS | {
    "collect_initial_values",
    "collect_sources",
    "make_loss",
    "make_model",
    "make_model_files",
    "make_optimizer",
    "make_order",
    "make_schedule",
    "make_tokenizer",
}
"""Hooks of plugins that are part of what is trained; others watch, stop or report."""


def kept_tables(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The recipe's plugins without those that choose what is compared, and those that only watch."""
    kept = {}
    for name, table in recipe.plugins.items():
        plugin_class = load_plugin_class(name)
        compared = any(choice.axis in COMPARED_AXES for choice in plugin_class.choices)
        if not compared and any(hasattr(plugin_class, hook) for hook in _SHAPES_TRAINING):
            kept[name] = table
    return kept


def fixed_values(recipe: Recipe) -> dict[str, str]:
    """What the recipe's own plugins choose on axes that are not compared, such as its method."""
    classes = {name: load_plugin_class(name) for name in kept_tables(recipe)}
    configs = {name: cls.Config.model_validate(recipe.plugins[name]) for name, cls in classes.items()}
    values = situation(recipe.train.precision, classes, configs)
    return {axis: value for axis, value in values.items() if axis not in (*COMPARED_AXES, "weights")}


def variant(recipe: Recipe, setting: Setting, steps: int, folder: Path) -> Recipe:
    """The recipe of one setting: as many steps, every one of them logged, nothing evaluated or kept.

    Raises `RecipeError` where the setting is refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = recipe.resolved()
    train = {**tables["train"], "steps": steps, "epochs": None, "log_every": 1, "evaluate_every": None}
    tables["train"] = {**train, "precision": setting.precision, **setting.train}
    tables["run"] |= {"name": "equivalence"}
    tables["data"] |= {"eval": [], "eval_fraction": 0.0}
    tables["checkpoint"] |= {"every": "1000000 steps"}
    tables["launch"] = {"gpus_per_node": setting.nproc}
    own = {name: with_folder(table, str(folder)) for name, table in setting.tables.items()}
    # What the recipe states of a plugin counts where the setting does not say otherwise.
    kept = kept_tables(recipe)
    tables["plugins"] = {**own, **{name: {**own.get(name, {}), **kept[name]} for name in kept}}
    path = folder / "recipe.toml"
    path.write_text(tomlkit.dumps(_without_none(tables)))
    return load_recipe(path)


def _without_none(value: Any) -> Any:
    """TOML has no null; a key that is left out means the same."""
    if isinstance(value, Mapping):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return value
