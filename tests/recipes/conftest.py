"""Runs shipped recipes as a user does, or in ranks that are there already."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stoker.recipe.loading import load_recipe
from stoker.run.trials import TrialRanks


@dataclass(frozen=True)
class Finished:
    """A run that ended well."""

    directory: Path

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
    return Finished(directory)


@pytest.fixture
def run() -> Callable[..., Finished]:
    """`run(folder, recipe, "train.steps=1")`: the run, once it ended well."""
    return run_recipe


@pytest.fixture(scope="module")
def train_in_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Finished]]:
    """`train_in_ranks(recipe, "train.steps=1")`: as `run`, in as many ranks, which are started once.

    The command adds only their start and their end to it, which are proven by the tests that use it.
    """
    pools: dict[int, TrialRanks] = {}

    def train(recipe: Path, *settings: str) -> Finished:
        loaded = load_recipe(recipe, settings)
        nproc = loaded.launch.gpus_per_node
        if nproc not in pools:
            pools[nproc] = TrialRanks(nproc, tmp_path_factory.mktemp(f"{nproc}-ranks"))
        trial = pools[nproc].run(recipe.stem, loaded)
        assert trial.problem == "", trial.failure
        return Finished(trial.directory.path)

    yield train
    for pool in pools.values():
        pool.close()
