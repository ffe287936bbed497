"""What may change when a run goes on."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.recipe.model import Recipe
from stoker.run.changes import change_recipe, list_changes, parse_override


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


def test_all_refusals_are_named_at_once(recipe: Recipe) -> None:
    overrides = ["train.steps=9", "run.seed=1", "train.learning_rate=0.2", "train.log_every=7"]
    with pytest.raises(UsageError) as caught:
        change_recipe(recipe, overrides, ["train.steps"])
    assert caught.value.message == (
        "run.seed: 0 -> 1 (cannot change while a run goes on); "
        "train.learning_rate: 0.1 -> 0.2 (changes what is trained)."
    )
    assert "--allow-change train.learning_rate" in caught.value.hint
    assert "--fresh" in caught.value.hint


def test_a_table_allows_all_keys_in_it(recipe: Recipe) -> None:
    changed = change_recipe(recipe, ["train.steps=9", "train.learning_rate=0.2"], ["train"])
    assert (changed.train.steps, changed.train.learning_rate) == (9, 0.2)


def test_a_value_that_stays_as_it_was_needs_no_leave(recipe: Recipe) -> None:
    assert change_recipe(recipe, ["run.seed=0", "train.steps=3"], []).fingerprint() == (
        recipe.fingerprint()
    )


def test_every_differing_value_is_listed_with_its_class(recipe: Recipe) -> None:
    data = 'data.train=[{path="rows.jsonl", format="text"}, {path="more.jsonl", weight=2.0}]'
    changed = change_recipe(recipe, [data, "checkpoint.keep=5"], ["data.train"])
    assert [change.render() for change in list_changes(recipe, changed)] == [
        "checkpoint.keep: 2 -> 5 (safe)",
        "data.train.1.path: nothing -> more.jsonl (changes what is trained)",
        "data.train.1.weight: nothing -> 2.0 (changes what is trained)",
    ]


def test_another_engine_is_one_change_whatever_its_options(recipe: Recipe) -> None:
    on = change_recipe(recipe, ["plugins.fsdp.strategy=NO_SHARD"], ["plugins.fsdp"])
    assert [change.render() for change in list_changes(recipe, on)] == [
        "plugins.fsdp: off -> on (changes what is trained)"
    ]
    other = change_recipe(
        on,
        ["plugins.fsdp.enabled=false", "plugins.zero.stage=1", "plugins.memory.at_step=3"],
        ["plugins.fsdp", "plugins.zero"],
    )
    assert [change.render() for change in list_changes(on, other)] == [
        "plugins.fsdp: on -> off (changes what is trained)",
        "plugins.memory: off -> on (safe)",
        "plugins.zero: off -> on (changes what is trained)",
    ]
    with pytest.raises(UsageError, match=r"plugins\.fsdp: on -> off"):
        change_recipe(on, ["plugins.fsdp.enabled=false"], [])


def test_what_a_plugin_says_of_its_options_counts(recipe: Recipe) -> None:
    on = change_recipe(recipe, ["plugins.fsdp.strategy=NO_SHARD"], ["plugins.fsdp"])
    assert change_recipe(on, ["plugins.fsdp.prefetch=2"], []).plugins["fsdp"]["prefetch"] == 2
    with pytest.raises(UsageError, match=r"plugins\.lora: off -> on \(cannot change"):
        change_recipe(recipe, ["plugins.lora.rank=8"], ["plugins.lora"])


def test_an_allowance_without_a_value_is_a_mistake(recipe: Recipe) -> None:
    with pytest.raises(UsageError, match=r"train\.steps has no --set"):
        change_recipe(recipe, [], ["train.steps"])
