"""A run that has just started: a recipe, a run directory, no model yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.dispatch import Hooks
from stoker.recipe.model import Recipe
from stoker.recipe.schema import RecipeTables
from stoker.run.context import Run
from stoker.run.events import EventWriter

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="session")
def make_recipe() -> MakeRecipe:
    """`make_recipe(model={...}, data={...})` is a recipe on the plugin's tiny model and its data."""

    def make(**tables: dict[str, Any]) -> Recipe:
        values: dict[str, Any] = {
            "run": {"name": "demo"},
            "model": {"path": "demo:tiny-llama", "initial_weights": "random"},
            "data": {"train": [{"path": "demo:docstrings"}]},
            "train": {"steps": 2, "learning_rate": 1e-3},
        }
        for name, table in tables.items():
            values[name] = values[name] | table
        return Recipe(RecipeTables.model_validate(values), Path("demo.toml"))

    return make


class StartedRun(Run):
    """A run whose events can be read back."""

    def written(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind."""
        path = self.events.path
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture(scope="session")
def make_run(
    tmp_path_factory: pytest.TempPathFactory, make_recipe: MakeRecipe
) -> Callable[..., StartedRun]:
    """`make_run(**tables)` is rank 0 of a run of `make_recipe(**tables)`."""

    def make(**tables: dict[str, Any]) -> StartedRun:
        events = tmp_path_factory.mktemp("run") / "events.jsonl"
        return StartedRun(
            recipe=make_recipe(**tables),
            hooks=Hooks(),
            directory=None,  # type: ignore[arg-type]
            events=EventWriter(events, attempt=1, rank=0),
        )

    return make


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for one test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("STOKER_CACHE", str(folder))
    return folder
