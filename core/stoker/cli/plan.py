"""`stoker plan`: what a recipe needs, takes and costs, before a GPU is paid for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from stoker.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from stoker.plan.plan import Plan, Target
    from stoker.recipe.model import Recipe


@click.command(
    help="Say what a recipe needs, takes and costs, before a GPU is paid for.\n\nMemory of each GPU by "
    "component, time and dollars, as ranges; without torch and without the network. Without --gpu the "
    "GPUs of this machine, or its processor."
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value; repeatable."
)
@click.option("--gpu", metavar="NAME", help="Type of GPU, such as a100-80gb.")
@click.option("--gpus", type=int, help="GPUs on all nodes. Default: the recipe's launch table.")
@click.option("--nodes", type=int, help="Nodes. Default: the recipe's.")
@click.option("--provider", help="Whose prices. Default: your own, else the cheapest that is known.")
@click.option("--price", type=float, metavar="USD", help="Dollars for one GPU and one hour.")
@click.option(
    "--prices", type=click.Path(path_type=Path), help="A file of prices, over those that are known."
)
@click.option("--compare", is_flag=True, help="Rank strategies, GPU types and counts that fit.")
@click.option(
    "--by", type=click.Choice(["cost", "time"]), default="cost", show_default=True, help="For --compare."
)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="For --compare.")
@click.option("--any-method", is_flag=True, help="For --compare: full, LoRA and QLoRA together.")
@click.option(
    "--all", "everything", is_flag=True, help="For --compare: not only the best on each number of GPUs."
)
@click.option("--profile", type=click.Choice(["seed"]), help="The guide's own arithmetic instead.")
@click.option("--explain", is_flag=True, help="Show the formulas with the numbers put in.")
@click.option("--count", is_flag=True, help="Tokenise the data first, to count them (slow, once).")
@click.option("--measure", is_flag=True, help="Build the model without memory and compare (slow).")
@click.option("--assert-fits", is_flag=True, help="Exit with 3 if it does not fit.")
@click.option("--max-usd", type=float, metavar="USD", help="Exit with 4 if it may cost more.")
@click.option("--max-hours", type=float, metavar="H", help="Exit with 4 if it may take longer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context,
    /,
    recipe: Path,
    overrides: tuple[str, ...],
    compare: bool,
    by: Literal["cost", "time"],
    limit: int,
    any_method: bool,
    everything: bool,
    profile: str | None,
    explain: bool,
    count: bool,
    measure: bool,
    assert_fits: bool,
    max_usd: float | None,
    max_hours: float | None,
    as_json: bool,
    **machines: Any,
) -> None:
    """Plan, print, and exit with what the assertions say. `machines` are options of `make_target`."""
    from stoker.plan.plan import make_plan
    from stoker.recipe.loading import load_recipe

    _refuse_idle_options(context)
    for name, value in (("--max-usd", max_usd), ("--max-hours", max_hours)):
        if value is not None and not value >= 0:  # neither negative nor NaN
            raise click.UsageError(f"{name} {value:g}: a limit is at least 0.")
    loaded = load_recipe(recipe, overrides, allow_unset=True)
    target = make_target(loaded, **machines)
    if profile is not None:
        sys.exit(print_seed_profile(loaded, target, as_json=as_json, assert_fits=assert_fits))
    if count:
        from stoker.cli.counting import count_tokens

        count_tokens(loaded)
    plan = make_plan(loaded, target)
    if compare:
        from stoker.cli.plan_comparison import print_comparison

        print_comparison(
            loaded,
            plan,
            target,
            gpu=target.gpu if machines["gpu"] is not None else None,
            gpus=machines["gpus"],
            methods=any_method,
            everything=everything,
            by=by,
            limit=limit,
            as_json=as_json,
        )
        return
    show = print_json_plan if as_json else print_plan
    show(loaded, plan, explain=explain, measure=measure)
    sys.exit(verdict(plan, assert_fits=assert_fits, max_usd=max_usd, max_hours=max_hours))


_IDLE_WITH = {
    "compare": ("profile", "explain", "measure", "assert_fits", "max_usd", "max_hours"),
    "profile": ("explain", "measure", "count", "max_usd", "max_hours", "provider", "price", "prices"),
    "price": ("provider",),
}
"""Options that say nothing beside another."""
_IDLE_WITHOUT = {"compare": ("by", "limit", "any_method", "everything")}


def _refuse_idle_options(context: click.Context) -> None:
    """Raise `click.UsageError` for an option that would be ignored."""
    options = {str(each.name): each.opts[0] for each in context.command.params}
    given = {
        name: option
        for name, option in options.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for name, others in _IDLE_WITH.items():
        for other in others:
            if name in given and other in given:
                raise click.UsageError(f"{given[other]} does nothing with {given[name]}: leave one out.")
    for name, others in _IDLE_WITHOUT.items():
        for other in others:
            if name not in given and other in given:
                raise click.UsageError(f"{given[other]} does nothing without --{name}.")


def make_target(
    recipe: Recipe,
    gpu: str | None,
    gpus: int | None,
    nodes: int | None,
    provider: str | None,
    price: float | None,
    prices: Path | None,
) -> Target:
    """The machines that the options name, else the recipe's number of this machine's.

    Raises `UsageError` for an unknown GPU, no GPUs, and prices that are none.
    """
    from stoker.plan.gpus import find_gpu
    from stoker.plan.plan import Target
    from stoker.plan.prices import given_price, load_prices
    from stoker.plan.this_machine import this_gpu

    launch = recipe.launch
    nodes = launch.nodes if nodes is None else nodes
    gpus = launch.gpus_per_node * nodes if gpus is None else gpus
    for name, number in (("--nodes", nodes), ("--gpus", gpus)):
        if number < 1:
            raise UsageError(f"{name} {number}: a plan needs at least one.")
    kind = find_gpu(gpu) if gpu is not None else this_gpu()
    target = Target(gpu=kind, gpus=gpus, nodes=nodes, provider=provider, prices=load_prices(prices))
    if price is not None:
        return target.at(given_price(kind.name, price, "--price"))
    # What the recipe says of a price is about the machine that the run is started on.
    return target.at_recipes_price(recipe) if gpu is None and provider is None else target


def print_plan(recipe: Recipe, plan: Plan, *, explain: bool, measure: bool) -> None:
    """As text for people; the plan first, because measuring takes a while."""
    from stoker.cli.plan_lines import formula_lines, plan_lines

    for line in plan_lines(plan):
        click.echo(line)
    for line in formula_lines(plan) if explain else ():
        click.echo(line)
    if measure:
        from stoker.cli.plan_measured import measure_plan, measured_lines

        for line in measured_lines(plan, measure_plan(recipe, plan)):
            click.echo(line)


def print_json_plan(recipe: Recipe, plan: Plan, *, explain: bool, measure: bool) -> None:
    """As one JSON document: the formulas under `formulas`, and what was measured under `measured`."""
    from stoker.cli.run_options import print_json
    from stoker.plan.shape import plan_as_dict

    shown = plan_as_dict(plan)
    if explain:
        from stoker.plan.explaining import explain as formulas

        shown["formulas"] = [asdict(formula) for formula in formulas(plan)]
    if measure:
        from stoker.cli.plan_measured import measure_plan

        shown["measured"] = measure_plan(recipe, plan).to_json()
    print_json(shown)


def print_seed_profile(recipe: Recipe, target: Target, *, as_json: bool, assert_fits: bool) -> int:
    """The guide's numbers for the recipe's model and strategy; returns the exit code."""
    from stoker.cli.plan_lines import seed_lines
    from stoker.cli.report import report_error
    from stoker.cli.run_options import print_json
    from stoker.plan.plan import values_of
    from stoker.plan.seed_plan import seed_plan

    values = values_of(recipe)
    plan = seed_plan(
        recipe.model.path,
        target.gpus,
        values["engine"],
        method="qlora" if values["quantization"] != "none" else values["method"],
        gpu=target.gpu.name,
        nodes=target.nodes,
        batch_size=recipe.train.batch_size,
    )
    if as_json:
        print_json(plan)
    else:
        for line in seed_lines(plan):
            click.echo(line)
    if not assert_fits or plan["fits"]:
        return int(ExitCode.DONE)
    report_error(_too_large(recipe.run.name, plan["gpu"], plan["per_gpu"]))
    return int(ExitCode.DOES_NOT_FIT)


def verdict(plan: Plan, *, assert_fits: bool, max_usd: float | None, max_hours: float | None) -> int:
    """The exit code, with a sentence on standard error where it is not 0.

    Limits are compared with the upper end of the range: a pipeline asks what may happen. What is not
    known cannot be promised, and fails.
    """
    from stoker.cli.report import report_error

    if assert_fits and not plan.fits:
        memory = {"total": plan.memory.total, "capacity": plan.memory.capacity}
        report_error(_too_large(plan.name, plan.target.gpu.name, memory))
        return int(ExitCode.DOES_NOT_FIT)
    for limit, found, name, unit in (
        (max_usd, plan.cost.on_demand_usd if plan.cost else None, "cost", "USD"),
        (max_hours, plan.time.hours if plan.time else None, "take", "h"),
    ):
        if limit is not None and (found is None or found.high > limit):
            report_error(_over(limit, found, name, unit))
            return int(ExitCode.OVER_BUDGET)
    return int(ExitCode.DONE)


def _too_large(name: str, gpu: str, memory: Mapping[str, float]) -> UsageError:
    return UsageError(
        f"{name} does not fit on {gpu}: it needs {memory['total'] / 1e9:,.1f} GB of "
        f"{memory['capacity'] / 1e9:,.1f} GB on each GPU.",
        hint="`stoker plan --compare` shows what fits.",
    )


def _over(limit: float, found: Any, name: str, unit: str) -> UsageError:
    if found is None:
        return UsageError(
            f"nobody can say that the run will {name} at most {limit:g} {unit}: see the findings.",
            hint="Give a price with --price, or count the data with --count.",
        )
    return UsageError(
        f"the run may {name} {found.high:,.2f} {unit}, more than {limit:g} {unit} "
        f"(expected {found.mid:,.2f}).",
        hint="`stoker plan --compare` shows what is cheaper or faster.",
    )
