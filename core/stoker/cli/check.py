"""`stoker check`: validate recipes without torch, a GPU or the network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from stoker.cli.report import report_problems
from stoker.errors import ExitCode
from stoker.recipe.loading import inspect_recipe


@click.command(help="Validate recipes; say all that is wrong at once.")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "overrides", "--set", metavar="KEY=VALUE", multiple=True, help="Change a value; repeatable."
)
@click.option("as_json", "--json", is_flag=True, help="Print the problems as JSON.")
def command(recipes: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Inspect each recipe; exit with 2 if one of them has an error."""
    problems = []
    for path in recipes:
        recipe, found = inspect_recipe(path, overrides)
        problems += found
        if recipe is not None and not as_json:
            click.echo(f"{path}: ok")
    ok = not any(problem.severity == "error" for problem in problems)
    if as_json:
        shape = {"ok": ok, "problems": [problem.as_dict() for problem in problems]}
        click.echo(json.dumps(shape, indent=1))
    else:
        report_problems(problems)
    if not ok:
        sys.exit(ExitCode.USAGE)
