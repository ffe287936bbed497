"""`stoker runs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stoker.cli.runs import command
from stoker.errors import UsageError
from stoker.run.events import EventWriter

Invoke = Callable[..., Any]


def test_runs_are_listed_with_their_true_state(invoke: Invoke, new_run: Any) -> None:
    new_run("first", state="done", step=3, total_steps=3, attempt=1, started=10.0, ended=135.0)
    new_run("second", state="running", step=1, total_steps=9, attempt=2, started=10.0)
    lines = invoke(command).output.splitlines()
    assert lines[0].split() == [
        *("name", "state", "step", "loss", "tokens/s", "spent", "ETA", "attempt", "time")
    ]
    assert lines[1].split() == ["first", "done", "3/3", "-", "-", "-", "-", "1", "2:05"]
    assert lines[2].split() == ["second", "lost", "1/9", "-", "-", "-", "-", "2", "-"]


def test_runs_as_json(invoke: Invoke, new_run: Any) -> None:
    new_run("first", state="stopped", exit_code=75)
    (run,) = json.loads(invoke(command, "--json").output)["runs"]
    assert (run["name"], run["state"], run["exit_code"]) == ("first", "stopped", 75)
    assert run["directory"] == "runs/first"


def test_no_runs_are_said_so(invoke: Invoke) -> None:
    assert "no runs in elsewhere" in invoke(command, "--run-dir", "elsewhere").output


def test_a_run_at_work_is_shown_with_the_step_it_is_at(invoke: Invoke, new_run: Any) -> None:
    """Its record has the one that was saved last."""
    directory = new_run(state="running", step=100, total_steps=900)
    events = EventWriter(directory.events_path, 1, 0)
    for step in (101, 102):
        events.write("step", step=step, loss=1.0)
    events.write("note", message="hello")
    events.close()
    assert "102/900" in invoke(command).output


def test_a_run_is_listed_with_what_its_latest_step_says(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done", step=3, total_steps=3)
    events = EventWriter(directory.events_path, 1, 0)
    events.write("step", step=3, loss=1.25, tokens_per_second=70_012.3, step_seconds=2.0)
    events.write("cost", step=3, usd=0.5, projected_usd=0.75)
    events.close()
    assert "3/3   1.2500  70,012    $0.50  -" in invoke(command).output
    (run,) = json.loads(invoke(command, "--json").output)["runs"]
    assert (run["loss"], run["tokens_per_second"], run["usd"]) == (1.25, 70_012.3, 0.5)
    assert (run["model"], run["method"], run["ranks"]) == ("x", "full", 1)


def test_a_query_chooses_and_a_key_sorts(invoke: Invoke, new_run: Any) -> None:
    for number, state in enumerate(("done", "failed", "done")):
        new_run(f"run-{number}", state=state, step=number)

    def names(*options: str) -> list[str]:
        return [run["name"] for run in json.loads(invoke(command, "--json", *options).output)["runs"]]

    assert names("--query", "state:done") == ["run-0", "run-2"]
    assert names("--query", "NOT failed step>1") == ["run-2"]
    assert names("--sort", "-step") == ["run-2", "run-1", "run-0"]
    assert names("--sort", "step") == ["run-0", "run-1", "run-2"]
    assert "None of 3 runs" in invoke(command, "--query", "step>7").output


def test_a_query_that_cannot_be_understood_ends_with_a_usage_error(invoke: Invoke) -> None:
    with pytest.raises(UsageError, match="column 7: state: wants a value"):
        raise invoke(command, "--query", "state: OR").exception or AssertionError


def test_a_damaged_run_is_listed_apart(invoke: Invoke, new_run: Any) -> None:
    new_run("first").record_path.write_text("{")
    new_run("second", state="done")
    assert invoke(command).output.splitlines()[2].split()[:2] == ["first", "damaged"]
    printed = json.loads(invoke(command, "--json").output)
    assert [run["name"] for run in printed["runs"]] == ["second"]
    (damaged,) = printed["damaged"]
    assert (damaged["name"], damaged["directory"]) == ("first", "runs/first")
    assert "cannot be read" in damaged["problem"]
