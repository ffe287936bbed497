"""`stoker plan --measure`: the formula beside what the real loop really holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stoker.capabilities import needs_memory
from stoker.cli.plan_lines import format_count
from stoker.errors import UsageError
from stoker.plan.measured import Setting, measure_recipe
from stoker.plan.memory import COMPONENTS, MOMENTS
from stoker.registry import make_plugins
from stoker.run.lines import format_bytes

if TYPE_CHECKING:
    from stoker.plan.measured import Measured
    from stoker.plan.plan import Plan
    from stoker.recipe.model import Recipe

REAL_PARAMETERS = 200_000_000
REAL_RANKS = 8
"""Up to here what does not run without memory is measured with real tensors, a process for each rank."""


_LEAST_COMPARED = 1e-3
"""Of the peak: below, a share of a component says nothing."""


def measure_plan(recipe: Recipe, plan: Plan) -> Measured:
    """Build and train three steps in other processes.

    Raises `UsageError` for what is too large to be real, and `StokerError` for what cannot be measured.
    """
    situation = plan.situation
    plugins = make_plugins(recipe.plugins).values()
    is_real = needs_memory(map(type, plugins), plan.values)
    if is_real:
        _refuse_too_large(plan)
    setting = Setting(
        micro_batch=situation.micro_batch,
        packed=plan.facts.packed,
        ranks=situation.ranks,
        accumulation=situation.accumulation,
        fake=not is_real,
    )
    return measure_recipe(recipe, setting)


def _refuse_too_large(plan: Plan) -> None:
    parameters, ranks = plan.architecture.num_parameters, plan.situation.ranks
    if parameters <= REAL_PARAMETERS and ranks <= REAL_RANKS:
        return
    raise UsageError(
        f"--measure: {plan.values['engine']} needs real tensors, which are measured up to "
        f"{format_count(REAL_PARAMETERS)} parameters on {REAL_RANKS} ranks; this is "
        f"{format_count(parameters)} on {ranks}.",
        hint="Measure a smaller model of the same kind, or fewer --gpus: the formula is the same.",
    )


def measured_lines(plan: Plan, measured: Measured) -> Iterator[str]:
    """A table of each moment and of the peak's components: truth, formula, error."""
    yield "\nmeasured: tensors alive in the third step of the real loop, and the formula"
    yield f"  {'':14}{'measured':>12}{'formula':>12}{'error':>9}"
    for moment in MOMENTS:
        said, held = plan.memory.moments[moment], measured.moments[moment]
        yield _line(moment, sum(held.values()), sum(said.values()), measured.allocated)
    yield f"  at the peak, the {measured.peak_moment}:"
    said = plan.memory.moments[measured.peak_moment]
    for name in COMPONENTS:
        if measured.per_component.get(name) or said.get(name):
            yield _line(
                name, measured.per_component.get(name, 0), said.get(name, 0.0), measured.allocated
            )


def _line(name: str, held: float, said: float, peak: float) -> str:
    error = f"{said / held - 1:+.1%}" if held > _LEAST_COMPARED * peak else "-"
    return f"  {name.replace('_', ' '):14}{format_bytes(held):>12}{format_bytes(said):>12}{error:>9}"
