"""Prints the first rows of each source as JSON: `python -m stoker.train.show_data LOCK COUNT`.

A process of its own, which may import what `stoker check` must not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from stoker.cli.report import report_error
from stoker.data.encode import Encoder
from stoker.data.preview import preview
from stoker.data.sources import resolve_source
from stoker.dispatch import Hooks
from stoker.errors import StokerError
from stoker.recipe.lock import read_lock
from stoker.recipe.model import Recipe
from stoker.registry import make_plugins
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.train.build import open_model_files


def main() -> int:
    """Print one JSON document on standard output; errors a user can mend go to standard error."""
    # What libraries print must not stand before the document.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        try:
            examples = show_data(read_lock(Path(sys.argv[1])), int(sys.argv[2]))
        except StokerError as error:
            report_error(error)
            return int(error.exit_code)
        json.dump(examples, answer)
    return 0


def show_data(recipe: Recipe, count: int) -> list[dict[str, Any]]:
    """The first `count` rows of each source of a recipe, each with the source's dotted key.

    Raises `StokerError` for a model or a source that is not there.
    """
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        run = Run(
            recipe=recipe,
            hooks=Hooks(make_plugins(recipe.plugins)),
            directory=RunDirectory(Path(folder)),
            events=EventWriter(Path(os.devnull), attempt=0, rank=0),
        )
        open_model_files(run)
        plugin_sources = run.hooks.collect_mapping("collect_sources", run=run)
        encoder = Encoder(run.tokenizer, recipe.data.chat_template, recipe.data.supervise)
        return [
            {"key": f"data.{name}.{number}", **example.as_dict()}
            for name in ("train", "eval")
            for number, source in enumerate(getattr(recipe.data, name))
            for example in preview(
                resolve_source(source, plugin_sources), encoder, recipe.data.sequence_length, count
            )
        ]


if __name__ == "__main__":
    sys.exit(main())
