"""`stoker run`: directory, launch, watching, exit code. What ranks do is tested with the worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.cli.run import command, started_by_other_launcher
from stoker.cli.run_options import attend
from stoker.errors import RecipeError, UsageError
from stoker.run.directory import RunDirectory
from stoker.run.launch import Launched
from stoker.run.progress import make_view

Invoke = Callable[..., Any]
WithRanks = Callable[[str], None]

RECIPE = """\
[run]
name = "fire"
[model]
path = "some/model"
[data]
train = [{ path = "some/data", format = "text" }]
[train]
steps = 3
learning_rate = 0.1
"""


@pytest.fixture
def recipe(home: Path) -> Path:
    path = home / "fire.toml"
    path.write_text(RECIPE)
    return path


def record(name: str = "fire") -> Any:
    return RunDirectory(Path("runs") / name).read_record()


def test_a_run_ends_with_where_the_result_lies_and_what_to_type_next(
    invoke: Invoke, recipe: Path, with_ranks: WithRanks
) -> None:
    with_ranks("done")
    result = invoke(command, recipe)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "fire runs in runs/fire"
    assert lines[1] == "preparing"
    assert lines[-2].startswith("fire: done at step 3")
    assert "stoker show fire" in lines[-1]


@pytest.mark.parametrize(("behaviour", "code"), [("fail", 71), ("left", 75), ("bug", 1)])
def test_the_exit_code_is_the_ranks(
    invoke: Invoke, recipe: Path, with_ranks: WithRanks, behaviour: str, code: int
) -> None:
    with_ranks(behaviour)
    assert invoke(command, recipe).exit_code == code
    assert record().exit_code == code


def test_a_failure_is_one_paragraph_on_standard_error(
    invoke: Invoke, recipe: Path, with_ranks: WithRanks
) -> None:
    with_ranks("fail")
    errors = invoke(command, recipe).stderr
    assert "stoker: fire failed: the loss is not finite." in errors
    assert "Lower the learning rate. Log: runs/fire/logs/attempt-1/rank-0.log" in errors


def test_a_stopped_run_goes_on_under_the_same_command(
    invoke: Invoke, recipe: Path, with_ranks: WithRanks
) -> None:
    with_ranks("left")
    assert invoke(command, recipe).exit_code == 75
    with_ranks("done")
    result = invoke(command, recipe)
    assert result.exit_code == 0
    assert (record().attempt, record().state) == (2, "done")
    # Only this attempt is shown.
    assert result.output.count("preparing") == 1


def test_a_failed_run_is_not_touched(invoke: Invoke, recipe: Path, with_ranks: WithRanks) -> None:
    with_ranks("fail")
    invoke(command, recipe)
    error = invoke(command, recipe).exception
    assert isinstance(error, UsageError)
    assert "--fresh" in error.hint
    with_ranks("done")
    assert invoke(command, recipe, "--fresh").exit_code == 0
    assert record("fire-2").state == "done"


def test_json_is_events_only(invoke: Invoke, recipe: Path, with_ranks: WithRanks) -> None:
    with_ranks("done")
    result = invoke(command, recipe, "--json")
    states = [json.loads(line)["state"] for line in result.stdout.splitlines()]
    assert states == ["preparing", "done"]


def test_a_detached_run_goes_on_after_the_command(
    invoke: Invoke, recipe: Path, with_ranks: WithRanks
) -> None:
    with_ranks("hang")
    result = invoke(command, recipe, "--detach", "--json")
    assert result.exit_code == 0
    place = json.loads(result.output)
    assert place["name"] == "fire"
    directory = RunDirectory(Path(place["directory"]))
    assert directory.effective_state() == "preparing"
    os.kill(place["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 20
    while directory.effective_state() == "preparing" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert directory.read_record().exit_code == 75


def test_a_dry_run_says_what_would_start_and_makes_nothing(
    invoke: Invoke, recipe: Path, home: Path
) -> None:
    result = invoke(command, recipe, "--dry-run", "--nproc", 2)
    assert result.exit_code == 0
    assert "fire (new, in runs/fire)" in result.output
    assert "2 on 1 node" in result.output
    facts = json.loads(invoke(command, recipe, "--dry-run", "--json", "--set", "train.steps=7").output)
    assert (facts["name"], facts["steps"], facts["resume"]) == ("fire", 7, False)
    assert not (home / "runs").exists()


def test_the_folder_of_runs_can_be_chosen(
    invoke: Invoke, recipe: Path, with_ranks: WithRanks, home: Path
) -> None:
    with_ranks("done")
    result = invoke(command, recipe, "--run-dir", home / "else where")
    assert result.exit_code == 0
    assert (home / "else where" / "fire" / "run.json").exists()
    assert "stoker show " in result.output
    assert "else where/fire" in result.output


def test_a_wrong_recipe_starts_nothing(invoke: Invoke, recipe: Path, home: Path) -> None:
    recipe.write_text(RECIPE + "learning_rat = 1\n")
    assert isinstance(invoke(command, recipe).exception, RecipeError)
    assert not (home / "runs").exists()


def test_several_nodes_need_a_meeting_place(invoke: Invoke, recipe: Path, home: Path) -> None:
    error = invoke(command, recipe, "--nnodes", 2).exception
    assert isinstance(error, UsageError)
    assert "--rendezvous" in error.message
    assert not (home / "runs").exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "0", "WORLD_SIZE": "2", "STOKER_STORE": "x"}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, True),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, False),
    ],
)
def test_another_launcher_is_recognised(environment: dict[str, str], expected: bool) -> None:
    assert started_by_other_launcher(environment) is expected


def run_in_a_process(recipe: Path, fake: Callable[[str], list[str]], behaviour: str) -> Any:
    """`stoker run` that can be sent signals."""
    program = (
        "import functools, sys; import stoker.cli.run_options as options\n"
        "options.launch = functools.partial(options.launch, program=sys.argv.pop(1).split('|'))\n"
        "from stoker.cli.run import command; command()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "|".join(fake(behaviour)), str(recipe), "--plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not (Path("runs/fire") / "ready-0").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_ends_in_75(
    recipe: Path, fake: Callable[[str], list[str]], number: signal.Signals
) -> None:
    process = run_in_a_process(recipe, fake, "hang")
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 75
    assert "fire: stopped at step 2" in output
    assert "stoker resume fire" in output
    assert errors == ""


def test_ctrl_c_twice_leaves_at_once_and_ends_in_76(
    recipe: Path, fake: Callable[[str], list[str]]
) -> None:
    process = run_in_a_process(recipe, fake, "slow")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 76
    assert "Ctrl-C again" in output
    assert "without a new save" in output


def test_a_supervisor_that_is_killed_is_a_lost_run(
    recipe: Path, fake: Callable[[str], list[str]]
) -> None:
    process = run_in_a_process(recipe, fake, "hang")
    os.kill(record().pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 76
    assert "lost" in output
    assert "stoker resume fire" in output


def test_a_run_that_could_not_write_how_it_ended_has_the_exit_code_of_its_supervisor(
    new_run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a disk that is full to the last byte its record says "running"."""
    directory = new_run(state="running")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(73)"])
    process.wait()
    view = make_view(sys.stdout, plain=True, as_json=False)
    assert attend(directory, Launched(process), view, 1) == 73
    assert "fire ended with exit code 73 and could not write why." in capsys.readouterr().err
