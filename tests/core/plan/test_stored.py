"""The plan that a run keeps: made once for a recipe and its ranks, and never a reason not to train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import StorageError
from stoker.plan import stored
from stoker.plan.grading import read_plan
from stoker.plan.history import read_history
from stoker.plan.stored import grade_attempt, store_plan
from stoker.recipe.model import Recipe
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter

RecipeOf = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def new_run(
    tmp_path: Path, recipe_of: RecipeOf, write_rows: Callable[..., dict[str, Any]]
) -> Callable[..., RunDirectory]:
    def make(**overrides: Any) -> RunDirectory:
        recipe = recipe_of(write_rows("rows.jsonl", [100] * 50), **overrides)
        return RunDirectory.create(tmp_path / "runs", "planned", recipe)

    return make


def plan_of(directory: RunDirectory) -> dict[str, Any]:
    plan = read_plan(directory)
    assert plan is not None
    return plan


def test_a_plan_is_stored_for_a_recipe_and_its_ranks(new_run: Callable[..., RunDirectory]) -> None:
    directory = new_run()
    store_plan(directory, ranks=2, nodes=1)
    plan = plan_of(directory)
    assert (plan["name"], plan["gpu"], plan["gpus"], plan["nodes"]) == ("planned", "cpu", 2, 1)
    assert plan["made_for"] == {
        "recipe_hash": directory.read_record().recipe_hash,
        "ranks": 2,
        "nodes": 1,
    }
    assert directory.plan_path.stat().st_mode & 0o777 == 0o600


def test_a_resume_with_the_same_ranks_keeps_it_and_other_ranks_make_another(
    new_run: Callable[..., RunDirectory],
) -> None:
    directory = new_run()
    store_plan(directory, ranks=1, nodes=1)
    directory.plan_path.write_text(directory.plan_path.read_text().replace("planned", "kept"))
    store_plan(directory, ranks=1, nodes=1)
    assert plan_of(directory)["name"] == "kept"
    store_plan(directory, ranks=2, nodes=2)
    assert (plan_of(directory)["name"], plan_of(directory)["gpus"]) == ("planned", 2)


def test_what_keeps_a_plan_from_being_made_is_written_in_its_place(
    new_run: Callable[..., RunDirectory],
) -> None:
    directory = new_run(model__path="org/unheard-of")
    store_plan(directory, ranks=1, nodes=1)
    plan = plan_of(directory)
    assert plan.keys() == {"v", "problem", "made_for"}
    assert "no model 'org/unheard-of' is known" in plan["problem"]
    grade_attempt(directory, 1)
    assert plan_of(directory) == plan


def test_a_mistake_of_ours_is_a_problem_too(
    new_run: Callable[..., RunDirectory],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = new_run()
    monkeypatch.setattr("stoker.plan.plan.make_plan", lambda *_: 1 / 0)
    store_plan(directory, ranks=1, nodes=1)
    assert plan_of(directory)["problem"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in capsys.readouterr().err  # for the log, and whoever reports it


def test_a_mistake_of_ours_in_a_grade_is_only_said(
    new_run: Callable[..., RunDirectory],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = new_run()
    store_plan(directory, ranks=1, nodes=1)
    monkeypatch.setattr(stored, "grade", lambda *_: 1 / 0)
    grade_attempt(directory, 1)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_full_disk_is_for_the_caller_to_say(
    new_run: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(stored, "replace_file", full)
    with pytest.raises(StorageError):
        store_plan(new_run(), ranks=1, nodes=1)


def test_an_attempt_is_graded_and_remembered(new_run: Callable[..., RunDirectory]) -> None:
    directory = new_run()
    store_plan(directory, ranks=1, nodes=1)
    events = EventWriter(directory.events_path, 1, 0)
    for step in range(1, 9):
        events.write("step", step=step, step_seconds=0.25, tokens_per_second=100.0)
    events.close()
    grade_attempt(directory, 1)
    plan = plan_of(directory)
    assert plan["grade"]["measured"]["step_seconds"] == 0.25
    assert plan["made_for"]["ranks"] == 1
    (run,) = read_history("cpu")
    assert (run.run, run.step_seconds) == ("planned", 0.25)


def test_a_run_without_a_plan_has_no_grade(new_run: Callable[..., RunDirectory]) -> None:
    directory = new_run()
    grade_attempt(directory, 1)
    assert read_plan(directory) is None
