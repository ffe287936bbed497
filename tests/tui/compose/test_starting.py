"""A recipe can be begun from a template, a shipped recipe, a file of one's own, and a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker.recipe.loading import inspect_recipe
from stoker.recipe.lock import write_lock
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.starting import StartingPoint, starting_points

ROWS = '{"text": "some text"}\n'
RECIPE = """\
# My own recipe.
[run]
name = "mine"

[model]
path = "demo:tiny-llama"
initial_weights = "random"

[data]
train = [{ path = "data/rows.jsonl", format = "text" }] # mine
sequence_length = 64

[train]
steps = 4
learning_rate = 1e-3

[plugins.demo]
"""


def problems_of(document: Document, folder: Path) -> list[str]:
    path = folder / "new.toml"
    return [each.message for each in inspect_recipe(path, text=document.text)[1]]


def a_run(folder: Path, recipe: Path, *overrides: str) -> Path:
    """A run's directory with what a launch writes of its recipe."""
    loaded, problems = inspect_recipe(recipe, overrides)
    assert loaded is not None, problems
    directory = folder / "runs" / "mine-1"
    directory.mkdir(parents=True)
    (directory / "recipe.toml").write_text(loaded.text)
    write_lock(loaded, directory / "recipe.lock.json")
    return directory


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and its data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes/data").mkdir(parents=True)
    (tmp_path / "recipes/data/rows.jsonl").write_text(ROWS)
    (tmp_path / "recipes/mine.toml").write_text(RECIPE)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    return tmp_path


def points(folder: Path, kind: str) -> list[StartingPoint]:
    return [each for each in starting_points(folder, folder / "runs") if each.kind == kind]


def test_templates_and_shipped_recipes_make_sound_recipes_anywhere(project: Path) -> None:
    found = [*points(project, "template"), *points(project, "shipped")]
    assert {"lora", "full", "smoke", "zero3_cpu"} <= {each.name for each in found}
    for point in found:
        document = point.make(project)
        assert document.path is None
        assert document.is_modified
        assert not document.has_work
        assert document.source == point.title
        assert problems_of(document, project) == [], point.name
        assert point.summary


def test_a_file_of_ones_own_is_opened_itself_and_other_files_are_no_recipes(project: Path) -> None:
    (found,) = points(project, "file")
    assert (found.name, found.summary) == ("mine", "My own recipe.")
    document = found.make(project)
    assert document.path == project / "recipes/mine.toml"
    assert not document.is_modified


def test_ones_own_recipes_come_first(project: Path) -> None:
    assert starting_points(project, project / "runs")[0].name == "mine"


def test_a_copy_is_work_once_it_is_edited(project: Path) -> None:
    document = points(project, "template")[0].make(project)
    document.set("run.seed", 3)
    assert document.has_work
    document.undo()
    assert not document.has_work


def test_a_run_gives_its_recipe_as_it_was_started(project: Path) -> None:
    recipe = project / "recipes/mine.toml"
    a_run(project, recipe, "train.steps=7", "plugins.lora.rank=4")
    (found,) = points(project, "run")
    document = found.make(project)
    assert document.tables["train"]["steps"] == 7
    assert document.tables["plugins"]["lora"] == {"rank": 4}
    assert document.tables["data"]["train"][0]["path"] == "recipes/data/rows.jsonl"
    assert "# mine" in document.text
    assert problems_of(document, project) == []


def test_a_run_whose_recipe_extends_another_one_still_does(project: Path) -> None:
    top = project / "recipes/top.toml"
    top.write_text('extends = "mine.toml"\n\n[train]\nsteps = 9\n')
    a_run(project, top)
    document = points(project, "run")[0].make(project)
    assert document.tables["extends"] == "recipes/mine.toml"
    assert problems_of(document, project) == []


def test_a_run_without_a_lock_gives_its_text(project: Path) -> None:
    directory = a_run(project, project / "recipes/mine.toml")
    (directory / "recipe.lock.json").write_text(json.dumps([]))
    document = points(project, "run")[0].make(project)
    assert document.text == RECIPE


def test_a_run_that_is_deleted_meanwhile_is_told(project: Path) -> None:
    directory = a_run(project, project / "recipes/mine.toml")
    (found,) = points(project, "run")
    (directory / "recipe.toml").unlink()
    with pytest.raises(Exception, match="no such file"):
        found.make(project)
    assert points(project, "run") == []
