"""The capability matrix in words: `stoker plugins --matrix`, and the page of the docs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from stoker.capabilities import MATRIX_AXES, Refusal, where_words
from stoker.cli.report import WIDTH
from stoker.errors import PluginError
from stoker.matrix import Classes, Matrix, verdict_of_pair
from stoker.registry import installed_plugins, load_plugin_class

MARKS = {"works": "yes", "needs CUDA": "CUDA", "refused": "-"}
COLUMNS = MATRIX_AXES[0]
"""The axis whose values are compared with those of every other one."""


def load_all() -> tuple[dict[str, Any], dict[str, str]]:
    """The classes of all installed plugins by name, and why some did not load."""
    classes: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for name in installed_plugins():
        try:
            classes[name] = load_plugin_class(name)
        except PluginError as error:
            failures[name] = error.message
    return classes, failures


def describe_matrix(classes: Classes) -> dict[str, Any]:
    """Everything as JSON: axes, refusals, and every cell of the product of the matrix' axes."""
    matrix = Matrix(classes)
    return {
        "axes": matrix.axes,
        "refusals": [
            {"plugin": name, "where": dict(refusal.where), "reason": refusal.reason}
            for name, refusal in _declared(classes)
        ],
        "cells": [
            {
                "values": {axis: cell.values[axis] for axis in MATRIX_AXES},
                "verdict": cell.verdict,
                "reason": cell.reason,
            }
            for cell in matrix.cells()
        ],
    }


def pair_tables(classes: Classes) -> dict[str, dict[str, dict[str, str]]]:
    """For each axis: marks by engine and by the axis' value."""
    matrix = Matrix(classes)
    axes = matrix.axes
    return {
        axis: {
            engine: {
                value: MARKS[verdict_of_pair(matrix, (COLUMNS, engine), (axis, value)).verdict]
                for value in values
            }
            for engine in axes[COLUMNS]
        }
        for axis, values in axes.items()
        if axis != COLUMNS
    }


def matrix_text(classes: Classes) -> str:
    """For a terminal of 80 columns."""
    lines = ["yes: works, and is tested.  CUDA: needs a GPU.  -: refused by `stoker check`."]
    for axis, table in pair_tables(classes).items():
        for part in _in_parts(table):
            lines += ["", *_rows(f"{axis}:", part)]
    lines += ["", "Refused:"]
    for sentence in refusal_sentences(classes):
        lines += textwrap.wrap(
            sentence, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
    return "\n".join(lines)


def _in_parts(table: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, dict[str, str]]]:
    """The table cut into as many columns as fit beside each other."""
    room = WIDTH - max(map(len, table)) - 2
    columns: list[str] = []
    for value in next(iter(table.values())):
        if columns and sum(len(each) + 2 for each in (*columns, value)) > room:
            yield {row: {each: marks[each] for each in columns} for row, marks in table.items()}
            columns = []
        columns.append(value)
    yield {row: {each: marks[each] for each in columns} for row, marks in table.items()}


def _rows(title: str, table: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    heads = list(next(iter(table.values())))
    width = max(len(title), *map(len, table))
    yield "  ".join([title.ljust(width), *heads])
    for row, marks in table.items():
        cells = [marks[head].ljust(len(head)) for head in heads]
        yield "  ".join([row.ljust(width), *cells]).rstrip()


def refusal_sentences(classes: Classes) -> list[str]:
    """What is refused and why, one sentence for each declaration."""
    said = {
        f"{where_words(refusal.where)}: {refusal.reason.rstrip('.')}.": None
        for _, refusal in _declared(classes)
    }
    for name, plugin_class in sorted(classes.items()):
        for required in plugin_class.requires:
            said[f"plugin {name!r} without {required!r}: it needs it."] = None
        for unwanted in plugin_class.conflicts_with:
            said[f"plugin {name!r} with {unwanted!r}: they exclude each other."] = None
    return list(said)


def _declared(classes: Classes) -> Iterator[tuple[str, Refusal]]:
    for name, plugin_class in sorted(classes.items()):
        for refusal in plugin_class.refuses:
            yield name, refusal
