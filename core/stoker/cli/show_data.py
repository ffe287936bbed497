"""Examples of a recipe's data as a model will see them, for `stoker check --show-data`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from stoker.errors import ExitCode, MissingRequirementError
from stoker.recipe.lock import write_lock
from stoker.recipe.model import Recipe
from stoker.recipe.problems import Problem, printable

_MOST_CHARACTERS = 3000
"""Of one piece of an example; the middle of a longer one is left out on a screen."""


def read_examples(recipe: Recipe, count: int) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Ask a process that may import torch for the first `count` rows of each source.

    Returns them, and what is wrong with them. Raises `MissingRequirementError` where the tokenizer's
    libraries are not installed.
    """
    from importlib.util import find_spec

    if find_spec("transformers") is None or find_spec("torch") is None:
        raise MissingRequirementError(
            "--show-data tokenises rows, which needs torch and transformers.",
            hint="pip install 'stoker[train]'",
        )
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        lock = Path(folder) / "recipe.lock.json"
        write_lock(recipe, lock)
        # -P: a file in the current folder must not be taken for a library of its name.
        job = [sys.executable, "-P", "-m", "stoker.train.show_data", str(lock), str(count)]
        done = subprocess.run(job, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        # Its traceback is on the screen.
        sys.exit(ExitCode.FAILED)
    shown = json.loads(done.stdout)
    problems = [Problem(**problem, file=str(recipe.path)) for problem in shown["problems"]]
    return shown["examples"], problems


def example_lines(example: Mapping[str, Any]) -> Iterator[str]:
    """A heading, then the text; `+` stands before what the model learns, `|` before the rest.

    Line ends of the text are written as \\n, so that those added here are none of it.
    """
    place = f"{example['source']}, {example['place']}"
    if example["problem"]:
        yield f"{example['key']}: {place}: {example['problem']}"
        return
    counts = f"{example['num_tokens']:,} tokens, {example['num_supervised']:,} supervised"
    counts += f", {example['num_cut']:,} cut off" if example["num_cut"] else ""
    yield f"{example['key']}: {place}: {counts}"
    for segment in example["segments"]:
        mark = "+" if segment["supervised"] else "|"
        *lines, rest = _shortened(segment["text"]).split("\n")
        shown = [f"{printable(line)}\\n" for line in lines] + ([printable(rest)] if rest else [])
        for line in shown:
            yield click.style(f"  {mark} {line}", **_style(segment["supervised"]))


def _shortened(text: str) -> str:
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out:,} characters, see --json ...]\n{text[-half:]}"


def _style(supervised: bool) -> dict[str, Any]:
    return {"fg": "green", "bold": True} if supervised else {"dim": True}
