"""What to change where a run does not fit: recipes that differ in one thing and do. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stoker.plan.compare import compare
from stoker.plan.question import make_question
from stoker.plan.ranking import by_time
from stoker.recipe.words import toml_text

if TYPE_CHECKING:
    from stoker.matrix import Classes
    from stoker.plan.plan import Plan, Target
    from stoker.plan.ranking import Candidate
    from stoker.recipe.model import Recipe

LESS = 0.9
"""Of the memory that is planned for the recipe itself: a change that saves less promises nothing where a
run has shown that the plan was too careless."""
_MOST = 5


def changes_that_fit(
    recipe: Recipe, plan: Plan, target: Target, classes: Classes, capacity: float
) -> list[str]:
    """Changes of one thing, each with its predicted memory, that fit into `capacity` bytes of a rank.

    First fewer rows at once, then the fastest of other strategies and methods; empty where none fits.
    """
    limit = min(capacity, plan.memory.total * LESS)
    near = _near(recipe, plan, target, classes, limit)
    own = [
        each
        for each in near
        if not differences(each, plan) and each.micro_batch_rows < plan.micro_batch_rows
    ]
    rows = max((each.micro_batch_rows for each in own), default=0)
    # What allows no more rows than the recipe as it is helps nobody.
    others = [
        each for each in near if len(differences(each, plan)) == 1 and each.micro_batch_rows > rows
    ]
    # Of the ways to set one plugin the fastest.
    best = {frozenset(each.tables): each for each in sorted(others, key=by_time, reverse=True)}
    found = [*own, *sorted(best.values(), key=by_time)]
    return [_words(each, recipe, plan, capacity) for each in found[:_MOST]]


def differences(candidate: Candidate, plan: Plan) -> list[str]:
    """What is another than in the plan, in words, without the rows of a micro-batch."""
    found = [
        f"{axis} {value}" for axis, value in candidate.values.items() if plan.values.get(axis) != value
    ]
    if candidate.gpus != plan.target.gpus:
        found.append(f"{candidate.gpus} {'GPU' if candidate.gpus == 1 else 'GPUs'}")
    return found


def smallest(recipe: Recipe, plan: Plan, target: Target, classes: Classes) -> str:
    """The change of one thing that needs the least memory, whether it fits or not."""
    near = _near(recipe, plan, target, classes, float("inf"), rows=1)
    least = min(near, key=lambda each: each.memory.total, default=None)
    return "" if least is None else _words(least, recipe, plan, None)


def _near(
    recipe: Recipe, plan: Plan, target: Target, classes: Classes, limit: float, rows: int | None = None
) -> list[Candidate]:
    gpu = replace(target.gpu, memory_bytes=limit)
    question = make_question(recipe, plan, target, gpu=gpu, gpus=target.gpus, methods=True)
    if rows is not None:
        question = replace(question, batch_size=rows * target.gpus)
    return [each for each in compare(question, classes).candidates if len(differences(each, plan)) <= 1]


def _words(candidate: Candidate, recipe: Recipe, plan: Plan, capacity: float | None) -> str:
    changes = ", ".join(_changes(candidate, recipe, plan)) or "as it is"
    of = "" if capacity is None else f" of {capacity / 1e9:,.2f} GB"
    return f"{changes} (predicted {candidate.memory.total / 1e9:,.2f} GB{of})"


def _changes(candidate: Candidate, recipe: Recipe, plan: Plan) -> Iterator[str]:
    """In a recipe's own words."""
    for name, table in candidate.tables.items():
        stated = recipe.plugins.get(name)
        if stated is None:
            yield f"[plugins.{name}]{_options(table)}"
        elif changed := {key: value for key, value in table.items() if stated.get(key) != value}:
            yield ", ".join(
                f"plugins.{name}.{key} = {toml_text(value)}" for key, value in changed.items()
            )
    yield from (f"without [plugins.{name}]" for name in recipe.plugins if name not in candidate.tables)
    rows = candidate.micro_batch_rows
    if rows != plan.micro_batch_rows:
        yield f"train.micro_batch_size = {rows}"


def _options(table: Any) -> str:
    return "".join(f" {key} = {toml_text(value)}" for key, value in table.items())
