"""`stoker plugins`: list what is installed, from metadata alone, or import and describe one plugin."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import click

from stoker.capabilities import Choice, where_words
from stoker.recipe.words import schema_words, toml_text
from stoker.registry import installed_plugins, load_plugin_class


@click.command(help="List the installed plugins, describe one, or say what combines with what.")
@click.argument("name", required=False)
@click.option("--matrix", is_flag=True, help="What works together, and what is refused and why.")
@click.option("as_json", "--json", is_flag=True, help="Print JSON.")
def command(name: str | None, matrix: bool, as_json: bool) -> None:
    """Without NAME and `--matrix` no plugin is imported."""
    if matrix:
        if name is not None:
            raise click.UsageError("--matrix is about all plugins; leave out NAME.")
        _print_matrix(as_json)
    elif name is None:
        rows = list_plugins()
        click.echo(json.dumps(rows, indent=1) if as_json else _table(rows))
    else:
        described = describe_plugin(name)
        click.echo(json.dumps(described, indent=1) if as_json else _page(described))


def _print_matrix(as_json: bool) -> None:
    from stoker.cli.matrix import describe_matrix, load_all, matrix_text

    classes, failures = load_all()
    for message in failures.values():
        click.echo(f"stoker: left out: {message}", err=True)
    click.echo(json.dumps(describe_matrix(classes)) if as_json else matrix_text(classes))


def list_plugins() -> list[dict[str, str]]:
    """Name, distribution, version, entry point and summary of every plugin; imports none of them."""
    from stoker.cli.summaries import summary_without_import

    rows = []
    for name, point in installed_plugins().items():
        row = {
            "name": name,
            "distribution": point.dist.name if point.dist else "",
            "version": point.dist.version if point.dist else "",
            "entry_point": point.value,
            "summary": summary_without_import(point),
        }
        rows.append(row)
    return rows


def describe_plugin(name: str) -> dict[str, Any]:
    """Import one plugin and say what it does, how it combines and which options it has.

    Raises `PluginError` if it is not installed or does not load.
    """
    from stoker.dispatch import HOOK_NAMES

    point = installed_plugins().get(name)
    plugin_class = load_plugin_class(name)
    return {
        "name": name,
        "distribution": point.dist.name if point and point.dist else "",
        "version": point.dist.version if point and point.dist else "",
        "description": inspect.getdoc(plugin_class) or "",
        "provides": list(plugin_class.provides),
        "requires": list(plugin_class.requires),
        "conflicts_with": list(plugin_class.conflicts_with),
        "after": list(plugin_class.after),
        "before": list(plugin_class.before),
        "choices": [_choice(choice) for choice in plugin_class.choices],
        "refuses": [
            {"where": dict(refusal.where), "reason": refusal.reason, "hint": refusal.hint}
            for refusal in plugin_class.refuses
        ],
        "failure_policy": plugin_class.failure_policy,
        "hooks": [hook for hook in HOOK_NAMES if hasattr(plugin_class, hook)],
        "options": _options(plugin_class.Config.model_json_schema()),
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "axis": choice.axis,
        "value": choice.value,
        "options": dict(choice.options),
        "needs_cuda": choice.needs_cuda,
    }


def _options(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": schema_words(option, schema.get("$defs", {})),
            "required": name in required,
            "default": option.get("default"),
            "description": option.get("description", ""),
        }
        for name, option in schema.get("properties", {}).items()
    ]


def _table(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "No plugin is installed."
    columns = ("name", "distribution", "version", "summary")
    cells = [columns, *(tuple(row[column] for column in columns) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)


def _page(described: Mapping[str, Any]) -> str:
    origin = f"{described['distribution']} {described['version']}".strip()
    lines = [f"{described['name']}  ({origin})", "", described["description"], ""]
    for key in ("provides", "requires", "conflicts_with", "after", "before", "hooks"):
        if described[key]:
            lines += _wrap(f"{key.replace('_', ' ')}: {', '.join(described[key])}")
    if described["choices"]:
        chosen = (f"{choice['axis']} {choice['value']}" for choice in described["choices"])
        lines += _wrap(f"chooses: {', '.join(dict.fromkeys(chosen))}")
    for refusal in described["refuses"]:
        lines += _wrap(f"refuses {where_words(refusal['where'])}: {refusal['reason'].rstrip('.')}.")
    lines += ["", f"[plugins.{described['name']}]"]
    for option in described["options"]:
        lines += _option_lines(option)
    return "\n".join(lines if described["options"] else [*lines, "has no options."])


def _option_lines(option: Mapping[str, Any]) -> list[str]:
    if option["required"]:
        default = "required"
    elif option["default"] is None:
        default = "not set by default"
    else:
        default = f"default {toml_text(option['default'])}"
    heading = f"{option['name']}: {option['type']}, {default}"
    return [heading, *_wrap(option["description"], "    ")]


def _wrap(text: str, indent: str = "") -> list[str]:
    import textwrap

    from stoker.cli.report import WIDTH

    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent or "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
