"""`stoker explain`: a key's value, who stated it, and what it means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from stoker.cli.explain import command
from stoker.errors import RecipeError, UsageError

BASE = """\
[run]
name = "base"
[model]
path = "demo:tiny-llama"
initial_weights = "random"
[data]
train = [{ path = "demo:docstrings" }, { path = "demo:text", weight = 2 }]
[train]
steps = 10
learning_rate = 1e-3
[plugins.demo]
[plugins.freeze]
enabled = false
"""
TOP = """\
extends = "base.toml"
[train]
batch_size = 8

[plugins.lora]
rank = 4
targets = ["q_proj", "v_proj"]
"""


@pytest.fixture
def explain(home: Path, invoke: Callable[..., Result]) -> Callable[..., Result]:
    (home / "base.toml").write_text(BASE)
    (home / "top.toml").write_text(TOP)
    return lambda key, *arguments: invoke(command, "top.toml", key, *arguments)


def test_a_value_is_told_with_its_origin_type_and_description(explain: Callable[..., Result]) -> None:
    assert explain("train.batch_size").output.splitlines() == [
        "train.batch_size = 8",
        "  from     top.toml:3",
        "  type     integer",
        "  default  32",
        "  Rows per optimizer step over all ranks (the global batch).",
    ]


@pytest.mark.parametrize(
    ("key", "value", "origin", "kind"),
    [
        ("train.steps", 10, "base.toml:9", "integer"),
        ("train.learning_rate", 0.5, "--set", "float"),
        ("train.epochs", None, "default", "float"),
        ("train.warmup", 0.03, "default", "integer or float"),
        ("train.schedule", "cosine", "default", '"constant", "linear", "cosine" or "wsd"'),
        ("data.train.1.weight", 2.0, "base.toml:7", "float"),
        ("data.train.0.weight", 1.0, "default", "float"),
        ("plugins.lora.rank", 4, "top.toml:6", "integer"),
        ("plugins.lora.alpha", 32.0, "plugin:lora", "float"),
        ("plugins.lora.targets", ["q_proj", "v_proj"], "top.toml:7", '"all-linear" or array of string'),
        ("plugins.lora.targets.1", "v_proj", "top.toml:7", "string"),
        ("plugins.lora.start_from", None, "plugin:lora", "string"),
        ("plugins.lora.enabled", True, "default", "boolean"),
        ("plugins.freeze.enabled", False, "base.toml:13", "boolean"),
        ("plugins.freeze.patterns", None, "plugin:freeze", "array of string"),
    ],
)
def test_every_kind_of_key(
    explain: Callable[..., Result], key: str, value: object, origin: str, kind: str
) -> None:
    found = json.loads(explain(key, "--set", "train.learning_rate=0.5", "--json").output)
    assert (found["value"], found["origin"], found["type"]) == (value, origin, kind)
    assert found["description"] or key.endswith(".1")
    assert found["keys"] == []
    assert explain(key, "--set", "train.learning_rate=0.5").output.startswith(f"{key} = ")


def test_a_table_lists_its_keys(explain: Callable[..., Result]) -> None:
    lines = explain("plugins.lora").output.splitlines()
    assert lines[0] == "plugins.lora"
    rows = [line.split() for line in lines[lines.index("") + 1 :]]
    assert ["rank", "4", "top.toml:6"] in rows
    assert ["alpha", "32.0", "plugin:lora"] in rows
    found = json.loads(explain("train", "--json").output)
    assert found["origin"] == "several"
    keys = {each["key"]: each["origin"] for each in found["keys"]}
    assert keys["train.steps"] == "base.toml:9"
    assert keys["train.batch_size"] == "top.toml:3"
    assert keys["train.precision"] == "default"


def test_an_array_of_tables_lists_its_items(explain: Callable[..., Result]) -> None:
    found = json.loads(explain("data.train", "--json").output)
    assert [each["key"] for each in found["keys"]] == ["data.train.0", "data.train.1"]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("train.stepps", "Did you mean 'train.steps'?"),
        ("steps", "Did you mean 'train.steps'?"),
        ("model.rank", "Did you mean 'plugins.lora.rank'?"),
        ("plugins.lora.rnk", "Did you mean 'plugins.lora.rank'?"),
        ("plugins.lra.rank", "Did you mean 'lora'?"),
        ("plugins.early_stopping.patience", "`stoker plugins early_stopping` lists its options."),
        ("data.train.2.path", "Did you mean"),
        ("train.steps.x", "Did you mean 'train.steps'?"),
        ("extends", "Its tables are run, model"),
        ("", "Its tables are run, model"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(
    explain: Callable[..., Result], key: str, hint: str
) -> None:
    error = explain(key).exception
    assert isinstance(error, UsageError)
    assert hint in error.hint


def test_a_recipe_with_errors_is_not_explained(explain: Callable[..., Result]) -> None:
    assert isinstance(explain("train.steps", "--set", "train.steps=x").exception, RecipeError)
