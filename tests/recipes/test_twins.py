"""Recipes for many GPUs have twins that two processes of a CPU train."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
TWINS = sorted(path.name for path in RECIPES.glob("*_cpu.toml"))


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_trains_on_processes_of_a_cpu_and_learns(name, tmp_path, run):
    finished = run(tmp_path, RECIPES / name)
    first, last = [event["eval_loss"] for event in finished.events("evaluate")]
    # An adapter learns less than all weights where the base is random and stays so.
    assert last < (0.92 if name == "qlora_cpu.toml" else 0.9) * first
    logs = list((finished.directory / "logs" / "attempt-1").glob("rank-*.log"))
    assert len(logs) == (1 if name == "qlora_cpu.toml" else 2)


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_has_the_engine_of_the_recipe_it_stands_for(name):
    """The recipe in its comment switches on the same plugins and chooses the same of them."""
    text = (RECIPES / name).read_text()
    (original,) = set(re.findall(r"The (?:engine|technique) of recipes/(\w+)\.toml", text))
    tables = tomllib.loads(text)["plugins"]
    meant = tomllib.loads((RECIPES / f"{original}.toml").read_text())["plugins"]
    assert tables.keys() <= meant.keys()
    for engine in {"zero", "fsdp"} & tables.keys():
        for key in ("stage", "strategy"):
            assert tables[engine].get(key) == meant[engine].get(key)
