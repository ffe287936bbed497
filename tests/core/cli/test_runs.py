"""`stoker runs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from stoker.cli.runs import command
from stoker.run.events import EventWriter

Invoke = Callable[..., Any]


def test_runs_are_listed_with_their_true_state(invoke: Invoke, new_run: Any) -> None:
    new_run("first", state="done", step=3, total_steps=3, attempt=1, started=10.0, ended=135.0)
    new_run("second", state="running", step=1, total_steps=9, attempt=2, started=10.0)
    lines = invoke(command).output.splitlines()
    assert lines[0].split() == ["name", "state", "step", "attempt", "time"]
    assert lines[1].split() == ["first", "done", "3/3", "1", "2:05"]
    assert lines[2].split() == ["second", "lost", "1/9", "2", "-"]


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
