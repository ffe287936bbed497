"""Runs shipped recipes as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Finished:
    """A run that ended well."""

    directory: Path
    output: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.directory / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


def run_recipe(folder: Path, recipe: Path, *settings: str) -> Finished:
    """`stoker run` in a folder of its own."""
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    result = subprocess.run(
        [sys.executable, "-m", "stoker", "run", str(recipe), "--plain", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    [directory] = (folder / "runs").iterdir()
    return Finished(directory, result.stdout)


@pytest.fixture
def run() -> Callable[..., Finished]:
    """`run(folder, recipe, "train.steps=1")`: the run, once it ended well."""
    return run_recipe
