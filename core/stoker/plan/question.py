"""What `stoker plan --compare` compares: the recipe's run on other machines and with other engines."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from stoker.plan.cost import Interruptions, commit_seconds
from stoker.plan.gpus import known_gpus
from stoker.plan.prices import find_price
from stoker.plan.strategies import Question
from stoker.plan.workload import accumulation, largest_micro_batch, load_of, mean_micro_batch

if TYPE_CHECKING:
    from stoker.plan.gpus import Gpu
    from stoker.plan.plan import Plan, Target
    from stoker.recipe.model import Recipe

UNKNOWN_STEPS = 1000
"""Compared where the recipe's number of steps is not known: what is ranked is the same."""


def make_question(
    recipe: Recipe, plan: Plan, target: Target, *, gpu: Gpu | None, gpus: int | None, methods: bool
) -> Question:
    """`gpu` and `gpus` are those that alone are looked at; None: all that have a price, and 1 to 64."""
    facts, data = plan.facts, plan.data
    commit = commit_seconds(plan.memory.disk_bytes, recipe.checkpoint.keep)
    question = Question(
        architecture=plan.architecture,
        precision=recipe.train.precision,
        batch_size=recipe.train.batch_size,
        micro_batch=partial(largest_micro_batch, recipe, data, facts),
        mean_micro_batch=cache(partial(mean_micro_batch, recipe, data, facts)) if data else None,
        accumulation=cache(partial(accumulation, recipe, data, facts)),
        load=load_of(
            recipe,
            plan.micro_batch_rows,
            plan.situation,
            plan.facts,
            data,
            plan.steps or UNKNOWN_STEPS,
        ),
        gpus=[gpu] if gpu is not None else _priced(target),
        tables=recipe.plugins,
        evaluation_rows=round(data.evaluation_rows) if data else 0,
        compares_methods=methods,
        prices=target.prices,
        provider=target.provider,
        interruptions=Interruptions(
            mean_seconds=recipe.checkpoint.hours_between_interruptions * 3600, commit_seconds=commit
        ),
    )
    return question if gpus is None else replace(question, counts=(gpus,))


def _priced(target: Target) -> list[Gpu]:
    """Types that somebody rents out, or that the user has a price of."""
    return [
        gpu
        for gpu in known_gpus().values()
        if find_price(gpu.name, target.provider, prices=target.prices) is not None
    ]
