"""Prints the first rows of each source as JSON: `python -m stoker.train.show_data LOCK COUNT`.

A process of its own, which may import what `stoker check` must not. The document has `examples`, and
`problems` as far as these rows show them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.data.bad_rows import BadRowPolicy
from stoker.data.encode import Encoder
from stoker.data.preview import preview
from stoker.data.sources import PluginSource, resolve_source
from stoker.errors import StokerError
from stoker.recipe.lock import read_lock
from stoker.recipe.model import Recipe
from stoker.recipe.schema import DataSource
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.train.build import run_outside_training
from stoker.train.garbage import exit_without_collecting

Shown = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Print one JSON document on standard output."""
    # What libraries print must not stand before the document.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        json.dump(show_data(Path(sys.argv[1]), int(sys.argv[2])), answer)


def show_data(lock: Path, count: int) -> Shown:
    """The first `count` rows of each source of a recipe, each with the source's dotted key."""
    shown: Shown = {"examples": [], "problems": []}
    recipe = None
    try:
        recipe = read_lock(lock)
        with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
            run = run_outside_training(recipe, RunDirectory(Path(folder)))
            _show_sources(run, count, shown)
    except StokerError as error:
        shown["problems"].append(_problem(recipe, "model.path", error))
    return shown


def _show_sources(run: Run, count: int, shown: Shown) -> None:
    plugin_sources = run.hooks.collect_mapping("collect_sources", run=run)
    data = run.recipe.data
    encoder = Encoder(run.tokenizer, data.chat_template, data.supervise)
    for name, sources in (("train", data.train), ("eval", data.eval)):
        for number, source in enumerate(sources):
            key = f"data.{name}.{number}"
            try:
                _show_source(run.recipe, key, source, plugin_sources, encoder, count, shown)
            except StokerError as error:
                shown["problems"].append(_problem(run.recipe, f"{key}.path", error))


def _show_source(
    recipe: Recipe,
    key: str,
    source: DataSource,
    plugin_sources: Mapping[str, PluginSource],
    encoder: Encoder,
    count: int,
    shown: Shown,
) -> None:
    data = recipe.data
    resolved = resolve_source(source, plugin_sources)
    found = preview(resolved, encoder, data.sequence_length, count, BadRowPolicy.of(data))
    for example in found.examples:
        # The rows are what was asked for; names may be values of environment variables.
        row = {"key": key, **example.as_dict()}
        row |= {name: recipe.conceal(row[name]) for name in ("source", "problem")}
        shown["examples"].append(row)
    for error, severity in ((found.error, "error"), (found.warning, "warning")):
        if error is not None:
            problem = _problem(recipe, f"{key}.path", error)
            shown["problems"].append({**problem, "severity": severity})


def _problem(recipe: Recipe | None, key: str, error: StokerError) -> dict[str, Any]:
    texts = {"message": error.message, "hint": error.hint}
    if recipe is not None:
        texts = {name: recipe.conceal(text) for name, text in texts.items()}
    return {"key": key, **texts, "severity": "error"}


if __name__ == "__main__":
    main()
    exit_without_collecting()
