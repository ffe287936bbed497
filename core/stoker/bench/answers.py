"""What can be asked about a recipe's text: each function takes what a request has as arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stoker.recipe.loading import inspect_recipe, load_recipe

if TYPE_CHECKING:
    from stoker.plan.plan import Target
    from stoker.recipe.model import Recipe

GoOn = Callable[[], None]
"""Raises where the answer is not waited for any more."""


def schema(go_on: GoOn) -> dict[str, Any]:
    """`stoker schema`, with the plugins that cannot be described and why."""
    from stoker.recipe.json_schema import recipe_schema
    from stoker.recipe.plugin_schemas import read_plugin_schemas

    schemas, failures = read_plugin_schemas()
    return {"schema": recipe_schema(schemas), "failures": failures}


def check(go_on: GoOn, text: str, path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """`stoker check --json` of a text that would lie at `path`."""
    _, problems = _inspect(text, path, overrides)
    return problems


def plan(
    go_on: GoOn, text: str, path: str, overrides: Sequence[str] = (), **machines: Any
) -> dict[str, Any]:
    """`check`, and under `plan` what `stoker plan --json` says with the formulas; null with errors.

    `machines` are options of `stoker plan`, by name. What keeps a valid recipe from being planned is
    under `unplanned`, with a message and a hint.
    """
    from stoker.errors import StokerError

    recipe, answer = _inspect(text, path, overrides)
    go_on()
    answer |= {"plan": None, "unplanned": None}
    if recipe is not None:
        try:
            answer["plan"] = _plan(recipe, machines)
        except StokerError as error:
            answer["unplanned"] = {"message": error.message, "hint": error.hint}
    return answer


def compare(
    go_on: GoOn,
    text: str,
    path: str,
    overrides: Sequence[str] = (),
    *,
    by: Literal["cost", "time"] = "cost",
    limit: int = 200,
    any_method: bool = False,
    everything: bool = False,
    **machines: Any,
) -> dict[str, Any]:
    """`stoker plan --compare --json`."""
    from stoker.cli.plan_comparison import comparison_as_dict
    from stoker.plan.plan import make_plan

    recipe = load_recipe(Path(path), overrides, allow_unset=True, text=text)
    target = _target(recipe, machines)
    planned = make_plan(recipe, target)
    go_on()
    return comparison_as_dict(
        recipe,
        planned,
        target,
        gpu=target.gpu if machines.get("gpu") else None,
        gpus=machines.get("gpus"),
        methods=any_method,
        everything=everything,
        by=by,
        limit=limit,
    )


def neighbours(
    go_on: GoOn, text: str, path: str, overrides: Sequence[str] = (), **machines: Any
) -> dict[str, Any]:
    """Recipes that are one change away, `cheaper` and `faster`: see `stoker.bench.neighbours`."""
    from stoker.bench.neighbours import find_neighbours
    from stoker.plan.plan import make_plan

    recipe = load_recipe(Path(path), overrides, allow_unset=True, text=text)
    target = _target(recipe, machines)
    planned = make_plan(recipe, target)
    go_on()
    return find_neighbours(recipe, planned, target, gpus=machines.get("gpus"))


def preview(
    go_on: GoOn, text: str, path: str, overrides: Sequence[str] = (), *, count: int = 3
) -> dict[str, Any]:
    """`stoker check --show-data N --json`: rows as the model will see them. Takes seconds."""
    recipe, answer = _inspect(text, path, overrides)
    if recipe is None:
        return {**answer, "examples": []}
    from stoker.cli.show_data import read_examples

    examples, problems = read_examples(recipe, count)
    answer["problems"] += [problem.as_dict() for problem in problems]
    answer["ok"] = answer["ok"] and all(problem.severity != "error" for problem in problems)
    return {**answer, "examples": [{"file": path, **example} for example in examples]}


METHODS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "schema": schema,
    "check": check,
    "plan": plan,
    "compare": compare,
    "neighbours": neighbours,
    "preview": preview,
}
SLOW_METHODS = frozenset({"schema", "preview", "compare", "neighbours"})
"""Those that take longer than a user's patience between two keys; others are answered meanwhile."""


def _inspect(text: str, path: str, overrides: Sequence[str]) -> tuple[Recipe | None, dict[str, Any]]:
    from stoker.recipe.data_checks import DataInspector

    recipe, problems = inspect_recipe(Path(path), overrides, DataInspector(), text=text)
    is_ok = all(problem.severity != "error" for problem in problems)
    return recipe, {"ok": is_ok, "problems": [problem.as_dict() for problem in problems]}


def _plan(recipe: Recipe, machines: Mapping[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from stoker.plan.explaining import explain
    from stoker.plan.plan import make_plan
    from stoker.plan.shape import plan_as_dict

    planned = make_plan(recipe, _target(recipe, machines))
    return {**plan_as_dict(planned), "formulas": [asdict(formula) for formula in explain(planned)]}


def _target(recipe: Recipe, machines: Mapping[str, Any]) -> Target:
    from stoker.cli.plan import make_target

    names = ("gpu", "gpus", "nodes", "provider", "price", "prices")
    options = {name: machines.get(name) for name in names}
    if options["prices"] is not None:
        options["prices"] = Path(options["prices"])
    return make_target(recipe, **options)
