"""`stoker check`: validate recipes without torch, a GPU or the network."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from stoker.cli.report import report_problems
from stoker.errors import ExitCode
from stoker.recipe.loading import inspect_recipe
from stoker.recipe.problems import Problem


@click.command(help="Validate recipes; say all that is wrong at once.")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "overrides", "--set", metavar="KEY=VALUE", multiple=True, help="Change a value; repeatable."
)
@click.option(
    "form",
    "--format",
    type=click.Choice(["text", "json", "github"]),
    help="How to print problems; github: annotations of a workflow run.  [default: text]",
)
@click.option("as_json", "--json", is_flag=True, help="The same as --format json.")
def command(
    recipes: tuple[Path, ...], overrides: tuple[str, ...], form: str | None, as_json: bool
) -> None:
    """Inspect each recipe; exit with 2 if one of them has an error."""
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other.")
    form = "json" if as_json else form or "text"
    problems = []
    for path in recipes:
        recipe, found = inspect_recipe(path, overrides)
        problems += found
        if recipe is not None and form != "json":
            click.echo(f"{path}: ok")
    ok = not any(problem.severity == "error" for problem in problems)
    _print(problems, ok, form)
    if not ok:
        sys.exit(ExitCode.USAGE)


def _print(problems: Sequence[Problem], ok: bool, form: str) -> None:
    if form == "json":
        shape = {"ok": ok, "problems": [problem.as_dict() for problem in problems]}
        click.echo(json.dumps(shape, indent=1))
    elif form == "github":
        from stoker.cli.annotations import annotation

        # GitHub reads commands from standard output.
        for problem in problems:
            click.echo(annotation(problem))
    else:
        report_problems(problems)
