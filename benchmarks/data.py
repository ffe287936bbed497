"""Tokenising rate and peak memory of data preparation, for growing numbers of rows.

python benchmarks/data.py [--rows 1000000] [--formats messages text]

Each measurement is a process of its own with an empty cache: it tokenises a JSONL file of rows made
from the docstrings of Python's standard library with the tokenizer of SmolLM2. Memory that grows with
the number of rows shows as a difference between the lines of one format.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from stoker.data.index import prepare_index
from stoker.dispatch import Hooks
from stoker.recipe.model import Recipe
from stoker.recipe.schema import RecipeTables
from stoker.run.context import Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.train.build import open_model_files
from stoker_plugins.demo import Demo, DemoConfig
from stoker_plugins.demo.data import load_pairs
from stoker_plugins.demo.docstrings import Pair

FORMATS = ("messages", "completion", "text")


def make_run(folder: Path, data: dict[str, Any]) -> Run:
    """A run as far as data preparation needs one."""
    tables = {
        "run": {"name": "data"},
        "model": {"path": "demo:smollm2-135m"},
        "data": data,
        "train": {"steps": 1, "learning_rate": 1e-3},
        "plugins": {"demo": {}},
    }
    return Run(
        recipe=Recipe(RecipeTables.model_validate(tables), folder / "recipe.toml"),
        hooks=Hooks({"demo": Demo(DemoConfig())}),
        directory=RunDirectory(folder),
        events=EventWriter(Path(os.devnull), attempt=0, rank=0),
    )


def rows(pairs: list[Pair], data_format: str, count: int) -> Iterator[dict[str, Any]]:
    """Rows that are all different: a number is part of each."""
    for number, pair in enumerate(islice(cycle(pairs), count)):
        question = f"{number}: {pair.question}"
        if data_format == "messages":
            turns = [("user", question), ("assistant", pair.answer)]
            yield {"messages": [{"role": role, "content": text} for role, text in turns]}
        elif data_format == "completion":
            yield {"prompt": f"{question}\n", "completion": pair.answer}
        else:
            yield {"text": f"{question}\n\n{pair.docstring}"}


def measure(file: Path, data_format: str) -> None:
    """Prepare one file and print what it took as JSON. Called in a process of its own."""
    data = {"train": [{"path": str(file), "format": data_format}], "sequence_length": 512}
    run = make_run(file.parent, data)
    open_model_files(run)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.environ["STOKER_CACHE"] = str(file.parent / "cache")
    started = time.perf_counter()
    prepared = prepare_index(run.recipe, run.tokenizer, {}, lambda phase, done, total: None)
    facts = {
        "seconds": time.perf_counter() - started,
        "tokens": int(prepared.train.lengths.sum(dtype="int64")),
        # The index is mapped, not read: only its columns of counts are in memory by now.
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "before_mb": before / 1024,
    }
    print(json.dumps(facts))


def main() -> None:
    """Make the files, measure each, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the largest file")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["messages", "text"])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Path(options.measure[0]), options.measure[1])
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        pairs = load_pairs(make_run(Path(folder), {"train": [{"path": "demo:text"}]}))
        for data_format in options.formats:
            for count in (options.rows // 100, options.rows // 10, options.rows):
                print_line(Path(folder), pairs, data_format, count)


def print_line(folder: Path, pairs: list[Pair], data_format: str, count: int) -> None:
    """Measure one file and print its line of the table."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "data.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows(pairs, data_format, count))
        command = [sys.executable, __file__, "--measure", str(file), data_format]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        facts = json.loads(done.stdout.splitlines()[-1])
        seconds = facts["seconds"]
        size_mb = file.stat().st_size / 1e6
        print(
            f"{data_format:10s} {count:9,} rows  {size_mb:7,.0f} MB  {seconds:6.1f} s  "
            f"{count / seconds:8,.0f} rows/s  {facts['tokens'] / seconds:9,.0f} tokens/s  "
            f"peak {facts['peak_mb']:5,.0f} MB (before {facts['before_mb']:,.0f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
