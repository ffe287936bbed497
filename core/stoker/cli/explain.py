"""`stoker explain`: what a key of a recipe is set to, who set it, and what it means."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stoker.cli.report import wrap
from stoker.recipe.explain import Explained, explain
from stoker.recipe.loading import load_recipe
from stoker.recipe.words import shorten, toml_text


@click.command(help="Say what a key of a recipe is set to, where that is stated, and what it means.")
@click.argument("recipe", metavar="RECIPE", type=click.Path(path_type=Path))
@click.argument("key", metavar="KEY")
@click.option(
    "overrides", "--set", metavar="KEY=VALUE", multiple=True, help="Change a value; repeatable."
)
@click.option("as_json", "--json", is_flag=True, help="Print JSON.")
def command(recipe: Path, key: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """KEY is dotted: `train.steps`, `data.train.0.path`; of a table it lists the keys."""
    explained = explain(load_recipe(recipe, overrides, allow_unset=True), key)
    click.echo(json.dumps(explained.as_dict(), indent=1) if as_json else _page(explained))


def _page(explained: Explained) -> str:
    if explained.keys:
        return "\n".join([explained.key, *wrap(explained.description), "", *_table(explained)])
    rows = {
        "from": explained.origin,
        "type": explained.type,
        "default": "none" if explained.default is None else toml_text(explained.default),
    }
    lines = [f"{explained.key} = {_text(explained.value)}"]
    lines += [f"  {name:8} {text}" for name, text in rows.items()]
    return "\n".join([*lines, *(f"  {line}" for line in wrap(explained.description))])


def _table(explained: Explained) -> list[str]:
    prefix = f"{explained.key}."
    rows = [
        (each.key.removeprefix(prefix), shorten(_text(each.value)), each.origin)
        for each in explained.keys
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _text(value: object) -> str:
    return "(not set)" if value is None else toml_text(value)
