"""Recipes that are one change away from a plan and are cheaper or faster, on GPUs of the same type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from stoker.cli.matrix import load_all
from stoker.cli.plan_comparison import candidate_as_dict
from stoker.plan.compare import compare, prices_of, time_and_cost
from stoker.plan.gpus import CPU
from stoker.plan.question import UNKNOWN_STEPS, make_question
from stoker.plan.ranking import by_cost, by_time
from stoker.plan.what_fits import differences

if TYPE_CHECKING:
    from stoker.plan.plan import Plan, Target
    from stoker.plan.ranking import Candidate
    from stoker.plan.strategies import Question
    from stoker.recipe.model import Recipe

_WORTH_SAYING = 0.01
"""Share of the dollars or hours below which a change saves nothing."""


class _Baseline(NamedTuple):
    """The plan by the measure of a comparison: without what earlier runs have taught."""

    usd: float | None
    hours: float


def find_neighbours(recipe: Recipe, plan: Plan, target: Target, *, gpus: int | None) -> dict[str, Any]:
    """`cheaper` and `faster`: the best row of a comparison that differs in one thing, None without one.

    A thing is a value on one axis, such as the engine, or twice or half as many GPUs; rows of a
    micro-batch follow. `gpus` is a number that is asked for: no other is looked at then. Besides the
    shape of `plan --compare --json` rows have `words`, and `saves_usd` and `saves_hours`, None where the
    plan does not fit or no price is known. Neighbours of a plan that does not fit do fit. `steps` are
    those that hours and dollars are of.
    """
    classes, _ = load_all()
    question = make_question(recipe, plan, target, gpu=target.gpu, gpus=gpus, methods=False)
    if gpus is None:
        question = replace(question, counts=_counts(target))
    near = [each for each in compare(question, classes).candidates if _is_near(each, plan)]
    baseline = _baseline(question, plan)
    if plan.fits:
        cheaper = [each for each in near if _is_less(each.usd, baseline.usd)]
        faster = [each for each in near if _is_less(each.hours, baseline.hours)]
    else:
        cheaper, faster = [each for each in near if each.usd is not None], near
    return {
        "cheaper": _described(min(cheaper, key=by_cost, default=None), plan, baseline),
        "faster": _described(min(faster, key=by_time, default=None), plan, baseline),
        "steps": plan.steps or UNKNOWN_STEPS,
    }


def _counts(target: Target) -> tuple[int, ...]:
    """A processor does not become two; a GPU may."""
    if target.gpu.name == CPU:
        return (target.gpus,)
    return tuple(count for count in (target.gpus // 2, target.gpus, target.gpus * 2) if count)


def _baseline(question: Question, plan: Plan) -> _Baseline:
    rows = plan.micro_batch_rows
    prices = prices_of(question, plan.target.gpu)
    time, cost = time_and_cost(question, plan.situation, plan.facts, rows, prices)
    spans = (cost.on_demand_usd, cost.spot_usd) if cost else ()
    usd = min((span.mid for span in spans if span), default=None)
    return _Baseline(usd, time.run_seconds.mid / 3600)


def _is_near(candidate: Candidate, plan: Plan) -> bool:
    return len(differences(candidate, plan)) <= 1


def _described(candidate: Candidate | None, plan: Plan, baseline: _Baseline) -> dict[str, Any] | None:
    if candidate is None:
        return None
    return {
        **candidate_as_dict(candidate),
        "words": ", ".join(_words(candidate, plan)),
        "saves_usd": _saved(candidate.usd, baseline.usd) if plan.fits else None,
        "saves_hours": _saved(candidate.hours, baseline.hours) if plan.fits else None,
    }


def _words(candidate: Candidate, plan: Plan) -> Iterable[str]:
    yield from differences(candidate, plan)
    rows = candidate.micro_batch_rows
    if rows != plan.micro_batch_rows:
        yield f"{rows} {'row' if rows == 1 else 'rows'} at once"


def _is_less(found: float | None, than: float | None) -> bool:
    return found is not None and than is not None and found < than * (1 - _WORTH_SAYING)


def _saved(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else before - now
