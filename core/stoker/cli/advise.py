"""`stoker advise`: which method, strategy and settings, why, and what the neighbours cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stoker.errors import ExitCode

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe

HELP = """Say which method, strategy and settings suit data, model and GPUs, and why.

What no option states is asked on a terminal. With RECIPE its model, data, batch and launch are taken
from there. Exits with 3 if nothing fits, with 4 if nothing keeps to the budget or the hours.
"""


@click.command(help=HELP)
@click.argument("path", metavar="[RECIPE]", required=False, type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="A model by name or hub id, or a folder with config.json.")
@click.option("--examples", type=int, metavar="N", help="Rows to train on; documents of raw text.")
@click.option("--tokens-per-example", type=int, metavar="N", help="On average.  [default: 512]")
@click.option("--sequence-length", type=int, metavar="N", help="Tokens of the longest row.")
@click.option("--epochs", type=float, metavar="N", help="[default: 3; of raw text 1]")
@click.option("--batch-size", type=int, metavar="N", help="Rows of a step.  [default: 32]")
@click.option("--gpu", metavar="NAME", help="Type of the GPUs at hand, such as a100-80gb.")
@click.option("--gpus", type=int, metavar="N", help="Their number, on all nodes together.")
@click.option("--nodes", type=int, metavar="N", help="[default: one for every 8 GPUs]")
@click.option("--multi-task/--no-multi-task", default=None, help="Many tasks or tenants on one base?")
@click.option("--continued-pretraining/--no-continued-pretraining", default=None, help="Raw text?")
@click.option("--domain-shift/--no-domain-shift", default=None, help="Another language or field?")
@click.option("--budget-usd", type=float, metavar="X", help="The most it may cost.")
@click.option("--hours", type=float, metavar="X", help="The longest it may take.")
@click.option("--provider", metavar="NAME", help="Whose prices; default: the cheapest known.")
@click.option("--prices", metavar="FILE", type=click.Path(path_type=Path), help="Your own prices.")
@click.option("--write", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Write recipes.")
@click.option("--data", metavar="PATH", help="What the recipes train on, with --write.")
@click.option(
    "--format", "data_format", metavar="FORMAT", help="Of --data.  [default: by its first row]"
)
@click.option("--force", is_flag=True, help="Replace recipes in DIR.")
@click.option("as_json", "--json", is_flag=True, help="Print JSON, and ask nothing.")
def command(
    path: Path | None,
    provider: str | None,
    prices: Path | None,
    folder: Path | None,
    data: str | None,
    data_format: str | None,
    force: bool,
    as_json: bool,
    **stated: Any,
) -> None:
    """Answer, and write recipes where asked to."""
    from stoker.advice.advise import advise
    from stoker.advice.as_json import as_dict
    from stoker.advice.planner import FormulaPlanner
    from stoker.advice.recipes import Sources, recipe_texts, write_recipes
    from stoker.cli.advise_question import complete
    from stoker.cli.advise_text import advice_text
    from stoker.cli.matrix import load_all
    from stoker.matrix import Matrix
    from stoker.plan.gpus import find_gpu
    from stoker.recipe.data_checks import DataInspector
    from stoker.recipe.loading import load_recipe

    if folder is None and (data or data_format or force):
        raise click.UsageError("--data, --format and --force are about recipes: add --write DIR.")
    recipe = load_recipe(path, inspector=DataInspector()) if path else None
    question = complete(stated, recipe, may_ask=not as_json)
    question = replace(question, gpu=find_gpu(question.gpu).name)
    classes, failures = load_all()
    configs = _recipe_config(recipe) if recipe and recipe.model.path == question.model else {}
    planner = FormulaPlanner(classes, provider=provider, prices=prices, configs=configs)
    for message in failures.values():
        click.echo(f"stoker: left out: {message}", err=True)
    advice = advise(question, planner, Matrix(classes))
    written: list[Path] = []
    if folder is not None:
        models = {rung.model: planner.model_path(rung.model) for rung in advice.ladder}
        texts = recipe_texts(advice, Sources(models, data, data_format, recipe), folder.absolute())
        written = write_recipes(texts, folder, replace=force)
    if as_json:
        answer = {**as_dict(advice), "written": [str(path) for path in written]}
        click.echo(json.dumps(answer, indent=1))
    else:
        click.echo(advice_text(advice))
        for each in written:
            click.echo(f"{each}: written")
    if advice.status != "recommended":
        sys.exit(EXIT_CODES[advice.status])


EXIT_CODES: Mapping[str, ExitCode] = {
    "does_not_fit": ExitCode.DOES_NOT_FIT,
    "over_limits": ExitCode.OVER_BUDGET,
}


def _recipe_config(recipe: Recipe) -> dict[str, Mapping[str, Any]]:
    """The config of a recipe's model, which a plugin may provide, by its path."""
    from stoker.dispatch import Hooks
    from stoker.plan.model_config import model_config
    from stoker.registry import make_plugins

    return {recipe.model.path: model_config(recipe, Hooks(make_plugins(recipe.plugins)))}
