"""What `stoker run` does when the run of that name exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import UsageError
from stoker.recipe.lock import read_lock
from stoker.recipe.model import Recipe
from stoker.run.directory import RunDirectory
from stoker.run.lease import Lease
from stoker.run.naming import choose_run, open_chosen

NewRecipe = Callable[..., Recipe]


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def open_for_run(parent: Path, recipe: Recipe, fresh: bool) -> tuple[RunDirectory, bool]:
    """The directory that `stoker run` uses, and whether the run goes on."""
    choice = choose_run(parent, recipe, fresh)
    return open_chosen(choice, recipe), choice.resume


def start(parent: Path, recipe: Recipe, **changes: Any) -> RunDirectory:
    """A run of the recipe in some state."""
    directory, _ = open_for_run(parent, recipe, fresh=True)
    directory.update_record(**changes)
    return directory


def test_the_first_run_has_the_recipes_name(parent: Path, recipe: Recipe) -> None:
    directory, resume = open_for_run(parent, recipe, fresh=False)
    assert (directory.name, resume) == ("fire", False)
    assert directory.recipe_path.exists()


def test_after_a_run_that_is_done_comes_the_next_number(parent: Path, recipe: Recipe) -> None:
    names = []
    for _ in range(3):
        directory, resume = open_for_run(parent, recipe, fresh=False)
        directory.update_record(state="done")
        names.append((directory.name, resume))
    assert names == [("fire", False), ("fire-2", False), ("fire-3", False)]


@pytest.mark.parametrize("state", ["stopped", "preempted", "running"])
def test_a_run_that_was_left_goes_on(parent: Path, recipe: Recipe, state: str) -> None:
    # `running` without anybody who holds the lease is lost.
    left = start(parent, recipe, state=state)
    directory, resume = open_for_run(parent, recipe, fresh=False)
    assert (directory.path, resume) == (left.path, True)


def test_the_newest_of_the_series_decides(parent: Path, recipe: Recipe) -> None:
    start(parent, recipe, state="done")
    start(parent, recipe, state="stopped")
    directory, resume = open_for_run(parent, recipe, fresh=False)
    assert (directory.name, resume) == ("fire-2", True)


def test_a_gap_left_by_a_deleted_run_is_not_filled(parent: Path, recipe: Recipe) -> None:
    for _ in range(3):
        start(parent, recipe, state="done")
    for path in sorted((parent / "fire-2").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (parent / "fire-2").rmdir()
    assert choose_run(parent, recipe, fresh=False).directory.name == "fire-4"


def test_a_running_run_is_in_the_way(parent: Path, recipe: Recipe) -> None:
    directory = start(parent, recipe, state="running")
    lease = Lease.take(directory.lease_path)
    with pytest.raises(UsageError, match="'fire' is running"):
        open_for_run(parent, recipe, fresh=False)
    lease.release()


def test_a_failed_run_asks_for_a_decision(parent: Path, recipe: Recipe) -> None:
    start(parent, recipe, state="failed", error={"message": "no space left."})
    with pytest.raises(UsageError, match=r"no space left.*stoker resume fire.*--fresh"):
        open_for_run(parent, recipe, fresh=False)


def test_fresh_always_makes_a_new_run(parent: Path, recipe: Recipe) -> None:
    for state in ("failed", "stopped", "done"):
        start(parent, recipe, state=state)
    directory, resume = open_for_run(parent, recipe, fresh=True)
    assert (directory.name, resume) == ("fire-4", False)


def test_a_changed_recipe_does_not_go_on_with_an_old_run(parent: Path, new_recipe: NewRecipe) -> None:
    start(parent, new_recipe(), state="stopped")
    with pytest.raises(UsageError, match=r"train\.steps: 3 -> 9.*stoker resume fire.*--fresh"):
        open_for_run(parent, new_recipe(steps=9), fresh=False)


def test_a_recipe_with_values_that_do_not_change_training_goes_on_with_them(
    parent: Path, recipe: Recipe
) -> None:
    left = start(parent, recipe, state="stopped")
    train = recipe.tables.train.model_copy(update={"log_every": 7})
    other = Recipe(tables=recipe.tables.model_copy(update={"train": train}), path=recipe.path)
    choice = choose_run(parent, other, fresh=False)
    assert choice.resume
    assert [change.key for change in choice.changes] == ["train.log_every"]
    choice.adopt(other)
    assert read_lock(left.lock_path).train.log_every == 7
    assert left.read_record().recipe_hash == other.fingerprint()


def test_a_run_that_moved_with_its_folder_still_goes_on(parent: Path, recipe: Recipe) -> None:
    start(parent, recipe, state="stopped")
    run = recipe.tables.run.model_copy(update={"directory": "elsewhere"})
    moved = Recipe(tables=recipe.tables.model_copy(update={"run": run}), path=recipe.path)
    assert moved.fingerprint() != recipe.fingerprint()
    assert open_for_run(parent, moved, fresh=False)[1]


def test_a_recipe_called_like_a_numbered_run_is_a_series_of_its_own(
    parent: Path, new_recipe: NewRecipe
) -> None:
    start(parent, new_recipe("fire"), state="stopped")
    start(parent, new_recipe("fire-2"), state="stopped")
    assert choose_run(parent, new_recipe("fire"), fresh=False).directory.name == "fire"
    assert choose_run(parent, new_recipe("fire-2"), fresh=False).directory.name == "fire-2"
    assert choose_run(parent, new_recipe("fire"), fresh=True).directory.name == "fire-3"


def test_choosing_makes_nothing(parent: Path, recipe: Recipe) -> None:
    choose_run(parent, recipe, fresh=False)
    assert not parent.exists()


def test_a_folder_of_that_name_that_is_no_run_is_not_touched(parent: Path, recipe: Recipe) -> None:
    (parent / "fire").mkdir(parents=True)
    with pytest.raises(UsageError, match="not a run directory"):
        open_for_run(parent, recipe, fresh=False)
    assert open_for_run(parent, recipe, fresh=True)[0].name == "fire-2"
