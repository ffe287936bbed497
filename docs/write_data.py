"""Fills in the `text` blocks of docs/data/*.md by running the code: `python docs/write_data.py`.

A block stands behind the rows it is about, with a comment in front that names their format:

    <!-- rows: completion sequence_length=64 supervise=all -->
    ```json
    {"prompt": "Q: 17 + 25\\nA:", "completion": " 42"}
    ```

    ```text
    what a model sees, or why a row is refused
    ```

The tokenizer is that of SmolLM2-135M-Instruct, from the plugin `demo`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stoker.cli.show_data import example_lines
from stoker.data.bad_rows import BadRowPolicy
from stoker.data.encode import Encoder
from stoker.data.preview import preview
from stoker.data.readers import ListedRows
from stoker.data.sources import Part, ResolvedSource
from stoker.dispatch import Hooks
from stoker.recipe.model import Recipe
from stoker.recipe.schema import DataTable, RecipeTables
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.train.build import open_model_files
from stoker_plugins.demo import Demo, DemoConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = Path(__file__).with_name("data")
BLOCKS = re.compile(
    r"(?P<head><!-- rows: (?P<format>\w+)(?P<options>[^\n]*) -->\n"
    r"```json\n(?P<rows>.*?)```\n\n```text\n).*?(?P<foot>```\n)",
    re.DOTALL,
)


def filled(page: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """A page with its blocks as the code makes them now."""

    def fill(match: re.Match[str]) -> str:
        rows = [json.loads(line) for line in match["rows"].splitlines()]
        options = dict(option.split("=") for option in match["options"].split())
        source = {"path": "rows.jsonl", "format": match["format"]}
        data = DataTable.model_validate({"train": [source], **options}, strict=False)
        text = "".join(f"{line}\n" for line in shown_lines(rows, data, tokenizer))
        return f"{match['head']}{text}{match['foot']}"

    return BLOCKS.sub(fill, page)


def shown_lines(
    rows: list[object], data: DataTable, tokenizer: PreTrainedTokenizerBase
) -> Iterator[str]:
    """What `stoker check --show-data` prints of rows."""
    (table,) = data.train
    assert table.format is not None
    part = Part(table.path, lambda: ListedRows(rows), lambda: "")
    source = ResolvedSource(table.path, table.format, [part])
    encoder = Encoder(tokenizer, supervise=data.supervise)
    for example in preview(source, encoder, data.sequence_length, 20, BadRowPolicy()).examples:
        for line in example_lines({"key": "data.train.0", **example.as_dict()}):
            yield click.unstyle(line).rstrip()


def smollm2_tokenizer() -> PreTrainedTokenizerBase:
    """The tokenizer of the shipped recipes."""
    tables = {
        "run": {"name": "docs"},
        "model": {"path": "demo:smollm2-135m"},
        "data": {"train": [{"path": "demo:text"}]},
        "train": {"steps": 1, "learning_rate": 1e-3},
    }
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            recipe=Recipe(RecipeTables.model_validate(tables), Path("docs.toml")),
            hooks=Hooks({"demo": Demo(DemoConfig())}),
            directory=RunDirectory(Path(folder)),
            events=EventWriter(Path(os.devnull), attempt=0, rank=0),
        )
        open_model_files(run)
    return run.tokenizer


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        path.write_text(filled(text, smollm2_tokenizer()), encoding="utf-8")
