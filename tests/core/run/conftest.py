"""Recipes, run directories and ranks that only pretend to train."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker.recipe.model import Recipe
from stoker.recipe.schema import RecipeTables
from stoker.run.directory import RunDirectory
from stoker.run.launch import Launched

FAKE_RANK = Path(__file__).with_name("fake_rank.py")


def make_recipe(name: str = "fire", **train: Any) -> Recipe:
    """A valid recipe that nothing trains."""
    tables = {
        "run": {"name": name},
        "model": {"path": "x"},
        "data": {"train": [{"path": "rows.jsonl", "format": "text"}]},
        "train": {"learning_rate": 0.1, "steps": 3, **train},
    }
    text = f"# kept\n[run]\nname = {name!r}\n"
    return Recipe(tables=RecipeTables.model_validate(tables), path=Path("fire.toml"), text=text)


@pytest.fixture
def recipe() -> Recipe:
    return make_recipe()


@pytest.fixture
def new_recipe() -> Callable[..., Recipe]:
    """`make_recipe` for test modules."""
    return make_recipe


@pytest.fixture
def directory(tmp_path: Path, recipe: Recipe) -> RunDirectory:
    """A run that nobody has started."""
    return RunDirectory.create(tmp_path / "runs", "fire", recipe)


@pytest.fixture
def fake() -> Callable[[str], list[str]]:
    """The command of ranks that behave as told, `done,fail` for ranks 0 and 1."""
    return lambda behaviours: [sys.executable, str(FAKE_RANK), behaviours]


@pytest.fixture
def end() -> Iterator[Callable[[Launched], Launched]]:
    """Ends the supervisors that a test started, and with them their ranks."""
    started: list[Launched] = []

    def note(launched: Launched) -> Launched:
        started.append(launched)
        return launched

    yield note
    for launched in started:
        if launched.process.poll() is None:
            launched.process.terminate()
        launched.process.wait(timeout=30)
