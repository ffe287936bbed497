"""What `check` says about names under `demo:`; nothing here needs torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stoker_plugins.demo import Demo, DemoConfig


def problems(recipe):
    return Demo(DemoConfig()).collect_problems(recipe)


def test_a_good_recipe_has_none(make_recipe):
    assert problems(make_recipe(data={"eval": [{"path": "demo:text", "split": "eval"}]})) == []


@pytest.mark.parametrize(
    ("tables", "key", "hint"),
    [
        ({"model": {"path": "demo:smollm-135m"}}, "model.path", "'demo:smollm2-135m'"),
        ({"model": {"initial_weights": "pretrained"}}, "model.path", 'initial_weights = "random"'),
        ({"data": {"sequence_length": 2048}}, "data.sequence_length", "Lower it"),
        ({"data": {"train": [{"path": "demo:docstring"}]}}, "data.train.0.path", "'demo:docstrings'"),
        (
            {"data": {"eval": [{"path": "demo:text", "split": "evl"}]}},
            "data.eval.0.split",
            "'eval'",
        ),
    ],
)
def test_a_wrong_name_is_found_with_its_key_and_the_fix(make_recipe, tables, key, hint):
    [problem] = problems(make_recipe(**tables))
    assert problem.key == key
    assert hint in problem.hint


def test_names_of_others_are_left_alone(make_recipe):
    tables = {"model": {"path": "Qwen/Qwen3-8B"}, "data": {"train": [{"path": "other:rows"}]}}
    assert problems(make_recipe(**tables)) == []


def test_the_top_level_imports_nothing_heavy():
    code = (
        "import sys, stoker_plugins.demo\n"
        "heavy = {'torch', 'transformers', 'datasets', 'peft', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
