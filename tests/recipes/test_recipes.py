"""Every shipped recipe is checked, and those that a CPU can run are run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stoker.recipe.loading import inspect_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
ALL = sorted(path.name for path in RECIPES.glob("*.toml"))
SMALL = ["train.steps=1", "train.warmup=0", "train.batch_size=2", "train.micro_batch_size=2"]


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_recipe_has_no_problems(name):
    recipe, problems = inspect_recipe(RECIPES / name)
    assert problems == []
    assert recipe is not None


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_recipe_says_how_it_is_run(name):
    assert f"stoker run recipes/{name}" in (RECIPES / name).read_text()


def shown(recipe: Path, *settings: str) -> list[dict[str, Any]]:
    """The first row of training and of evaluation, as the model sees it."""
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    command = [sys.executable, "-m", "stoker", "check", str(recipe), "--show-data", "1", "--json"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    examples: list[dict[str, Any]] = json.loads(result.stdout)["examples"]
    return examples


def test_smoke_runs_as_it_is_and_learns(tmp_path, run):
    finished = run(tmp_path, RECIPES / "smoke.toml")
    first, *_, last = [event["eval_loss"] for event in finished.events("evaluate")]
    assert last < 0.8 * first
    assert [event["step"] for event in finished.events("step")] == list(range(1, 21))


def test_smoke_can_be_copied_and_edited_line_by_line(tmp_path, run):
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


def test_quickstart_starts_from_the_real_model_and_shows_an_answer(tmp_path, run):
    small = ["train.steps=2", "train.batch_size=2", "train.micro_batch_size=2"]
    sizes = ["plugins.demo.max_eval_rows=4", "plugins.demo.sample_tokens=8"]
    finished = run(tmp_path, RECIPES / "quickstart.toml", *small, *sizes)
    # Far below ln(49152) = 10.8, the loss of random weights.
    assert finished.events("evaluate")[0]["eval_loss"] < 5
    notes = [event["message"] for event in finished.events("note")]
    assert any(note.startswith("before training: What does") for note in notes)
    assert any(note.startswith("after 2 steps: What does") for note in notes)


def test_full_trains_every_weight(train_in_ranks):
    finished = train_in_ranks(RECIPES / "full.toml", *SMALL, "plugins.demo.max_eval_rows=2")
    *_, saved = [e for e in finished.events("checkpoint") if e["phase"] == "committed"]
    weights = finished.directory / "checkpoints" / f"step-{saved['step']:08d}"
    # float32 weights and two moments of 134,515,008 parameters.
    size = sum(file.stat().st_size for file in weights.glob("*.safetensors"))
    assert size > 134_515_008 * 3 * 4


def test_continued_pretraining_learns_every_token_of_full_blocks(train_in_ranks):
    sizes = ["data.sequence_length=64", "plugins.demo.max_eval_rows=4"]
    finished = train_in_ranks(RECIPES / "continued_pretraining.toml", *SMALL, *sizes)
    [step] = finished.events("step")
    # Two blocks without padding; the first token of each has none before it to be learnt from.
    assert (step["tokens"], step["supervised_tokens"]) == (2 * 64, 2 * 63)
    assert finished.events("evaluate")[0]["eval_loss"] < 5


def test_chat_learns_every_answer_of_a_conversation_and_where_it_ends(train_in_ranks):
    training, evaluation = shown(RECIPES / "chat.toml", "plugins.demo.max_train_rows=2")
    for example in (training, evaluation):
        learnt = [segment["text"] for segment in example["segments"] if segment["supervised"]]
        rest = "".join(s["text"] for s in example["segments"] if not s["supervised"])
        assert len(learnt) == rest.count("<|im_start|>assistant") >= 2
        assert all(text.endswith("<|im_end|>") for text in learnt)
        assert rest.startswith("<|im_start|>system\nYou answer questions")
    finished = train_in_ranks(RECIPES / "chat.toml", *SMALL, "plugins.demo.max_eval_rows=2")
    assert finished.events("evaluate")[0]["eval_loss"] < 5


def test_alpaca_puts_instruction_and_input_into_one_question(train_in_ranks):
    training, _ = shown(RECIPES / "alpaca.toml")
    [before, learnt, _] = [segment["text"] for segment in training["segments"]]
    question = before.partition("<|im_start|>user\n")[2]
    assert re.match(r"Describe .* Python's .*\.\n\n.+<\|im_end\|>\n<\|im_start\|>assistant\n$", question)
    assert learnt.endswith("<|im_end|>")
    finished = train_in_ranks(RECIPES / "alpaca.toml", *SMALL, "plugins.demo.max_eval_rows=2")
    assert finished.events("evaluate")[0]["eval_loss"] < 5
    *_, saved = [e for e in finished.events("checkpoint") if e["phase"] == "committed"]
    weights = finished.directory / "checkpoints" / f"step-{saved['step']:08d}"
    # The adapter and its moments only; the model's weights alone would be 269 MB.
    assert sum(file.stat().st_size for file in weights.glob("*.safetensors")) < 100_000_000


@pytest.mark.parametrize("name", ["alpaca.toml", "chat.toml", "continued_pretraining.toml"])
def test_lines_for_own_files_are_right_once_they_are_switched_on(name, tmp_path):
    """The commented sources take the place of the shipped ones; only their files are missing."""
    text = (RECIPES / name).read_text()
    own = re.findall(r"^# (train = .*)$", text, re.MULTILINE)
    assert own
    for source in own:
        kept = re.sub(r"^(train|eval) = .*\n", "", text, flags=re.MULTILINE)
        changed = kept.replace("# eval_fraction", "eval_fraction").replace(f"# {source}", source)
        copy = tmp_path / name
        copy.write_text(changed)
        _, problems = inspect_recipe(copy)
        assert [problem.key for problem in problems] == ["data.train.0.path"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alpaca.toml", "chat.toml", "continued_pretraining.toml", "full.toml"])
def test_the_command_trains_it(name, tmp_path, run):
    finished = run(tmp_path, RECIPES / name, *SMALL, "plugins.demo.max_eval_rows=2")
    assert finished.events("evaluate")[0]["eval_loss"] < 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_quickstart_lowers_the_loss_on_held_out_modules_by_a_tenth(tmp_path, run):
    finished = run(tmp_path, RECIPES / "quickstart.toml")
    first, *_, last = [event["eval_loss"] for event in finished.events("evaluate")]
    assert last < 0.9 * first
