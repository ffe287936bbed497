"""Every shipped recipe is checked, and those that a CPU can run are run."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stoker.recipe.loading import inspect_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
ALL = sorted(path.name for path in RECIPES.glob("*.toml"))


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_recipe_has_no_problems(name):
    recipe, problems = inspect_recipe(RECIPES / name)
    assert problems == []
    assert recipe is not None


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_recipe_says_how_it_is_run(name):
    assert f"stoker run recipes/{name}" in (RECIPES / name).read_text()


@dataclass(frozen=True)
class Finished:
    """A run that ended well."""

    directory: Path
    output: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.directory / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


def run(folder: Path, recipe: Path, *settings: str) -> Finished:
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


def test_smoke_runs_as_it_is_and_learns(tmp_path):
    finished = run(tmp_path, RECIPES / "smoke.toml")
    first, *_, last = [event["eval_loss"] for event in finished.events("evaluate")]
    assert last < 0.8 * first
    assert [event["step"] for event in finished.events("step")] == list(range(1, 21))


def test_smoke_can_be_copied_and_edited_line_by_line(tmp_path):
    """What others build on: each of these starts a line once, and there are no relative paths."""
    text = (RECIPES / "smoke.toml").read_text()
    lines = [line.split(" = ")[0] for line in text.splitlines()]
    for key in ("name", "learning_rate", "micro_batch_size", "precision", "steps"):
        assert lines.count(key) == 1
    tables = tomllib.loads(text)
    assert "steps" in tables["train"]
    assert not {"early_stopping", "zero", "fsdp", "trackers"} & set(tables["plugins"])
    assert all(source["path"].startswith("demo:") for source in tables["data"]["train"])
    copy = tmp_path / "copy.toml"
    copy.write_text(text.replace("\nsteps = 20", "\nsteps = 2").replace('"smoke"', '"mine"'))
    assert run(tmp_path, copy).directory.name == "mine"


def test_quickstart_starts_from_the_real_model_and_shows_an_answer(tmp_path):
    small = ["train.steps=2", "train.batch_size=2", "train.micro_batch_size=2"]
    sizes = ["plugins.demo.max_eval_rows=4", "plugins.demo.sample_tokens=8"]
    finished = run(tmp_path, RECIPES / "quickstart.toml", *small, *sizes)
    # Far below ln(49152) = 10.8, the loss of random weights.
    assert finished.events("evaluate")[0]["eval_loss"] < 5
    notes = [event["message"] for event in finished.events("note")]
    assert any(note.startswith("before training: What does") for note in notes)
    assert any(note.startswith("after 2 steps: What does") for note in notes)


def test_full_trains_every_weight(tmp_path):
    small = ["train.steps=1", "train.warmup=0", "train.batch_size=2", "train.micro_batch_size=2"]
    finished = run(tmp_path, RECIPES / "full.toml", *small, "plugins.demo.max_eval_rows=2")
    [saved] = [e for e in finished.events("checkpoint") if e["phase"] == "committed"]
    weights = finished.directory / "checkpoints" / f"step-{saved['step']:08d}"
    # float32 weights and two moments of 134,515,008 parameters.
    size = sum(file.stat().st_size for file in weights.glob("*.safetensors"))
    assert size > 134_515_008 * 3 * 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_quickstart_lowers_the_loss_on_held_out_modules_by_a_tenth(tmp_path):
    finished = run(tmp_path, RECIPES / "quickstart.toml")
    first, *_, last = [event["eval_loss"] for event in finished.events("evaluate")]
    assert last < 0.9 * first
