"""Runs in every state, made without training, and a way to call one command."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stoker.recipe.model import Recipe
from stoker.recipe.schema import RecipeTables
from stoker.run.directory import RunDirectory
from stoker.run.launch import Launched, launch
from stoker.run.ranks import Topology

FAKE_RANK = Path(__file__).parents[1] / "run" / "fake_rank.py"

Invoke = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stoker is called from."""
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "STOKER_STORE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def invoke(home: Path) -> Invoke:
    """Call a command as the command line does; what it raises is in the result."""
    return lambda command, *arguments: CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture
def new_run(home: Path) -> Callable[..., RunDirectory]:
    """A run of some name with changes to its record."""

    def make(name: str = "fire", **changes: Any) -> RunDirectory:
        tables = {
            "run": {"name": name},
            "model": {"path": "x"},
            "data": {"train": [{"path": "rows.jsonl", "format": "text"}]},
            "train": {"learning_rate": 0.1, "steps": 3},
        }
        recipe = Recipe(tables=RecipeTables.model_validate(tables), path=home / "fire.toml")
        directory = RunDirectory.create(Path("runs"), name, recipe)
        directory.update_record(**changes)
        return directory

    return make


@pytest.fixture
def fake() -> Callable[[str], list[str]]:
    """The command of ranks that behave as told."""
    return lambda behaviours: [sys.executable, str(FAKE_RANK), behaviours]


@pytest.fixture
def with_ranks(
    monkeypatch: pytest.MonkeyPatch, fake: Callable[[str], list[str]]
) -> Callable[[str], None]:
    """From now on, `run` and `resume` start ranks that behave as told instead of the worker."""

    def use(behaviours: str) -> None:
        replacement = functools.partial(launch, program=fake(behaviours))
        monkeypatch.setattr("stoker.cli.run_options.launch", replacement)

    return use


@pytest.fixture
def start(fake: Callable[[str], list[str]]) -> Iterator[Callable[[RunDirectory, str], Launched]]:
    """Start a run in the background; it is ended after the test."""
    started: list[Launched] = []

    def begin(directory: RunDirectory, behaviours: str) -> Launched:
        nproc = behaviours.count(",") + 1
        program = fake(behaviours)
        started.append(launch(directory, Topology(nproc=nproc), foreground=False, program=program))
        return started[-1]

    yield begin
    for launched in started:
        if launched.process.poll() is None:
            launched.process.terminate()
        launched.process.wait(timeout=30)
