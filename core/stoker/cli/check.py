"""`stoker check`: validate recipes without torch, a GPU or the network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from stoker.cli.report import report_problems
from stoker.errors import ExitCode
from stoker.recipe.data_checks import DataInspector
from stoker.recipe.loading import inspect_recipe


@click.command(help="Validate recipes; say all that is wrong at once.")
@click.argument("recipes", metavar="RECIPE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "overrides", "--set", metavar="KEY=VALUE", multiple=True, help="Change a value; repeatable."
)
@click.option(
    "--data", "whole_data", is_flag=True, help="Read local files to their end, not the first 4 MB."
)
@click.option(
    "--show-data",
    "num_examples",
    metavar="N",
    type=click.IntRange(1),
    help="Print the first N rows of each source as the model sees them.",
)
@click.option(
    "form",
    "--format",
    type=click.Choice(["text", "json", "github"]),
    help="How to print problems; github: annotations of a workflow run.  [default: text]",
)
@click.option("as_json", "--json", is_flag=True, help="The same as --format json.")
def command(
    recipes: tuple[Path, ...],
    overrides: tuple[str, ...],
    whole_data: bool,
    num_examples: int | None,
    form: str | None,
    as_json: bool,
) -> None:
    """Inspect each recipe; exit with 2 if one of them has an error."""
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other.")
    form = "json" if as_json else form or "text"
    answer: dict[str, Any] = {"ok": True, "problems": []}
    for path in recipes:
        inspector = DataInspector(whole=whole_data)
        recipe, problems = inspect_recipe(path, overrides, inspector)
        if recipe is not None and num_examples is not None:
            from stoker.cli.show_data import read_examples

            answer.setdefault("examples", [])
            examples, shown_problems = read_examples(recipe, num_examples)
            answer["examples"] += [{"file": str(path), **example} for example in examples]
            problems += shown_problems
            _show(examples if form != "json" else [])
        if any(problem.severity == "error" for problem in problems):
            answer["ok"] = False
        elif form != "json":
            click.echo(f"{path}: ok{_read(inspector) if whole_data else ''}")
        answer["problems"] += problems
    _print(answer, form)
    if not answer["ok"]:
        sys.exit(ExitCode.USAGE)


def _read(inspector: DataInspector) -> str:
    """How much of the data was read."""
    found = inspector.inspected.values()
    num_rows, num_files = sum(each.num_rows for each in found), sum(each.num_files for each in found)
    files = "one local file" if num_files == 1 else f"{num_files:,} local files"
    return f" ({num_rows:,} rows in {files})"


def _show(examples: Iterable[Mapping[str, Any]]) -> None:
    from stoker.cli.show_data import example_lines

    for example in examples:
        click.echo("\n".join([*example_lines(example), ""]))


def _print(answer: dict[str, Any], form: str) -> None:
    problems = answer["problems"]
    if form == "json":
        shape = {**answer, "problems": [problem.as_dict() for problem in problems]}
        click.echo(json.dumps(shape, indent=1))
    elif form == "github":
        from stoker.cli.annotations import annotation

        # GitHub reads commands from standard output.
        for problem in problems:
            click.echo(annotation(problem))
    else:
        report_problems(problems)
