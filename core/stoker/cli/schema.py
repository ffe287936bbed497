"""`stoker schema`: the JSON Schema of recipes, with the tables of all installed plugins."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stoker.cli.report import wrap
from stoker.errors import StorageError
from stoker.recipe.json_schema import recipe_schema
from stoker.recipe.plugin_schemas import read_plugin_schemas

HELP = """Print the JSON Schema of recipes, with the tables of all installed plugins.

Editors that know TOML check a recipe with it while it is written, and complete and explain its keys.
Write it beside the recipe with `-o stoker.schema.json`, and begin the recipe with the line

    #:schema ./stoker.schema.json
"""


@click.command(help=HELP)
@click.option(
    "output",
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it there instead of printing it.",
)
def command(output: Path | None) -> None:
    """Plugins are imported in a process of their own; one that fails is left out with a warning."""
    schemas, failures = read_plugin_schemas()
    for name, reason in failures.items():
        for line in wrap(f"warning: plugin {name!r} is left out: {reason}"):
            click.echo(line, err=True)
    text = json.dumps(recipe_schema(schemas), indent=1)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{output} cannot be written: {error.strerror or error}.", hint="Choose another file."
        ) from error
    click.echo(f"{output}: written")
