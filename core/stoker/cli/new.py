"""`stoker new`: write a commented recipe from a template, or list the templates."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import click

from stoker.cli.report import WIDTH, report_problems
from stoker.errors import StorageError, UsageError
from stoker.scaffold.templates import Template, find_template, find_templates

HELP = """Write a commented recipe from a template; without TEMPLATE, list the templates.

FILE is TEMPLATE.toml by default; - prints the recipe. Local paths may be given as they are seen from
here; the recipe names them as seen from FILE.
"""


@click.command(help=HELP)
@click.argument("name", metavar="[TEMPLATE]", required=False)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("run_name", "--name", metavar="NAME", help="Name of the run. Default: made from FILE.")
@click.option("--model", metavar="PATH", help="A directory, a hub id, or a plugin's name.")
@click.option("--data", metavar="PATH", help="A file, a folder, a hub id, or a plugin's name.")
@click.option(
    "data_format",
    "--format",
    metavar="FORMAT",
    help="Of --data: text, completion, alpaca, messages or sharegpt. Default: by its first row.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("is_list", "--list", is_flag=True, help="List the templates.")
@click.option("as_json", "--json", is_flag=True, help="List the templates as JSON.")
def command(
    name: str | None,
    file: Path | None,
    run_name: str | None,
    model: str | None,
    data: str | None,
    data_format: str | None,
    force: bool,
    is_list: bool,
    as_json: bool,
) -> None:
    """List, print or write."""
    if name is None:
        if run_name or model or data or data_format or force:
            raise click.UsageError("the name of a template is missing; `stoker new` lists them.")
        click.echo(_listing(as_json))
        return
    if is_list or as_json:
        raise click.UsageError("--list and --json list the templates: leave TEMPLATE out.")
    template = find_template(name)
    file = file or Path(f"{template.name}.toml")
    text = _compose(template, file, run_name, model=model, data=data, data_format=data_format)
    if _is_output(file):
        click.echo(text, nl=False)
    else:
        _write(file, text, force)
        _say_what_is_next(file)


def _listing(as_json: bool) -> str:
    templates = find_templates().values()
    if as_json:
        return json.dumps([_row(template) for template in templates], indent=1)
    formatter = click.HelpFormatter(width=WIDTH)
    formatter.write_dl([(each.name, each.summary) for each in templates])
    return formatter.getvalue().rstrip("\n")


def _row(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "plugin": template.plugin,
        "summary": template.summary,
        "path": str(template.path),
    }


def _compose(template: Template, file: Path, run_name: str | None, **values: str | None) -> str:
    from stoker.scaffold.fill import fill
    from stoker.scaffold.values import Values, legal_name

    if run_name is None:
        run_name = (not _is_output(file) and legal_name(file.stem)) or template.name
    return fill(template, Values(name=run_name, **values), Path(os.path.abspath(file)).parent)


def _is_output(file: Path) -> bool:
    return str(file) == "-"


def _write(file: Path, text: str, force: bool) -> None:
    """Raises `UsageError` if the file exists and may not be replaced, or can be none."""
    is_folder = os.path.isdir(file)
    if is_folder or not os.path.isdir(file.parent):
        what = "is a folder" if is_folder else f"cannot be: there is no folder {file.parent}"
        raise UsageError(f"{file} {what}.", hint="Name a file in a folder that exists.")
    try:
        # "x" leaves no moment in which somebody else's file could be overwritten.
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise UsageError(
            f"{file} exists already; it was left as it is.",
            hint="Name another file, or add --force to replace it.",
        ) from error
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written: {error.strerror or error}.", hint="Choose another file."
        ) from error


def _say_what_is_next(file: Path) -> None:
    """What `stoker check` says of the recipe, which may be about the user's own files."""
    from stoker.recipe.data_checks import DataInspector
    from stoker.recipe.loading import inspect_recipe

    click.echo(f"{file}: written")
    _, problems = inspect_recipe(file, inspector=DataInspector())
    report_problems(problems)
    quoted = shlex.quote(str(file))
    click.echo(f"next: stoker check {quoted}\n      stoker run {quoted}")
