"""Formulas with their numbers put in come to what they say, and to what the plan says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from stoker.plan.explaining import explain
from stoker.plan.gpus import find_gpu
from stoker.plan.plan import Plan, Target, make_plan
from stoker.plan.prices import given_price, load_prices
from stoker.recipe.model import Recipe

H100 = find_gpu("h100-80gb")

KINDS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"plugins__lora": {}},
    "qlora": {"plugins__lora": {}, "plugins__qlora": {}},
    "8 bits": {"plugins__optimizers": {"name": "adamw_8bit"}},
    "sgd": {"plugins__optimizers": {"name": "sgd"}},
    "zero": {"plugins__zero": {"stage": 2}},
    "fsdp": {"plugins__fsdp": {}},
    "half": {"train__precision": "bf16_fp32_states"},
}


@pytest.fixture
def plan(
    recipe_of: Callable[..., Recipe], write_rows: Callable[..., dict[str, Any]]
) -> Callable[..., Plan]:
    def make(gpus: int = 4, **overrides: Any) -> Plan:
        stated = {"model__path": "llama-3.2-1b", "train__precision": "bf16_mixed", **overrides}
        recipe = recipe_of(write_rows("rows.jsonl", [100] * 50), **stated)
        price = given_price(H100.name, 2.0, "--price")
        return make_plan(recipe, Target(H100, gpus, prices=load_prices()).at(price))

    return make


def gigabytes(terms: str) -> float:
    """`(3 trained x 4 B + 5 frozen x 2 B) / 8 ranks` in GB: sums of products, shared at the end."""
    inner, _, ranks = terms.replace("(", "").replace(")", "").partition(" / ")
    numbers = re.compile(r"(?<![\w-])[\d,.]+(?!\w)")
    total = 0.0
    for product in inner.split(" + "):
        value = 1.0
        for number in numbers.findall(product):
            value *= float(number.replace(",", "").rstrip(".") or 1)
        total += value
    return total / float(ranks.split()[0] if ranks else 1) / 1e9


@pytest.mark.parametrize("kind", KINDS)
def test_products_come_to_what_the_plan_says(plan: Callable[..., Plan], kind: str) -> None:
    made = plan(**KINDS[kind])
    formulas = {formula.name: formula for formula in explain(made)}
    for name, size in (
        ("weights", made.memory.per_component["weights"]),
        ("gradients", made.memory.moments["update"]["gradients"]),
        ("optimizer", made.memory.per_component["optimizer"]),
        ("activations", made.memory.per_component["activations"]),
        ("logits", made.memory.per_component["logits"]),
    ):
        formula = formulas[name]
        assert formula.value == f"{size / 1e9:,.3f} GB"
        assert gigabytes(formula.terms) == pytest.approx(size / 1e9, rel=0.02, abs=2e-3), formula


def test_time_and_cost_are_explained_where_they_are_known(plan: Callable[..., Plan]) -> None:
    made = plan()
    formulas = {formula.name: formula for formula in explain(made)}
    assert made.time is not None
    assert made.cost is not None
    assert made.cost.on_demand_usd is not None
    assert formulas["time"].terms.startswith(f"{made.steps} steps x ")
    assert formulas["step"].value == f"{made.time.step_seconds.mid:.4g} s"
    assert formulas["cost"].terms == f"{made.time.hours.mid:.4g} h x 4 GPUs x $2 an hour"
    assert formulas["cost"].source == "--price"


def test_what_is_not_known_is_not_explained(
    plan: Callable[..., Plan], recipe_of: Callable[..., Recipe]
) -> None:
    source = {"path": "someone/dataset", "format": "text"}
    names = [formula.name for formula in explain(make_plan(recipe_of(source), Target(H100)))]
    assert names[-1] == "total"
