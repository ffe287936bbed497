"""What may change when a run goes on."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.recipe.model import Recipe
from stoker.run.changes import change_recipe, parse_override


def test_values_are_toml_and_else_strings() -> None:
    assert parse_override("train.steps=20") == ("train.steps", 20)
    assert parse_override("checkpoint.every=10 min") == ("checkpoint.every", "10 min")
    assert parse_override('model.path="a=b"') == ("model.path", "a=b")


def test_what_does_not_change_training_may_change(recipe: Recipe) -> None:
    changed = change_recipe(recipe, ["train.log_every=7", "checkpoint.every=5 min"], [])
    assert (changed.train.log_every, changed.checkpoint.every) == (7, "5 min")
    assert changed.origins["train.log_every"] == "--set"
    assert recipe.train.log_every == 10


def test_what_changes_training_must_be_allowed_by_name(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match=r"--allow-change train\.steps"):
        change_recipe(recipe, ["train.steps=9"], [])
    assert change_recipe(recipe, ["train.steps=9"], ["train.steps"]).train.steps == 9


def test_naming_an_option_of_a_plugin_switches_it_on(recipe: Recipe) -> None:
    overrides = ["plugins.early_stopping.patience=2"]
    changed = change_recipe(recipe, overrides, ["plugins.early_stopping"])
    assert changed.plugins["early_stopping"]["patience"] == 2
    assert "early_stopping" not in recipe.plugins


@pytest.mark.parametrize(
    ("override", "allowed", "message"),
    [
        ("model.path=y", ["model.path"], "cannot change"),
        ("run.name=other", ["run.name"], "cannot change"),
        ("train.steps=many", ["train.steps"], r"train\.steps"),
        ("launch.gpus_per_nod=2", [], r"launch\.gpus_per_nod"),
        ("checkpoint", [], "KEY=VALUE"),
        ("checkpoint.every.day=1", [], "no table 'every'"),
    ],
)
def test_a_change_that_cannot_be_is_named(
    recipe: Recipe, override: str, allowed: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        change_recipe(recipe, [override], allowed)


def test_an_allowance_without_a_value_is_a_mistake(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match=r"train\.steps has no --set"):
        change_recipe(recipe, [], ["train.steps"])
