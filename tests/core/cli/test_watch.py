"""`stoker watch`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from stoker.cli.watch import command
from stoker.run.events import EventWriter

Invoke = Callable[..., Any]


def test_a_finished_run_is_replayed_and_its_exit_code_returned(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="stopped", exit_code=75, step=2, total_steps=9, attempt=1)
    events = EventWriter(directory.events_path, 1, 0)
    events.write("step", step=2, total_steps=9, loss=1.5)
    events.close()
    result = invoke(command, "fire")
    assert result.exit_code == 75
    assert "step 2/9  loss 1.5000" in result.output
    assert "fire: stopped at step 2 of 9" in result.output
    assert "stoker resume fire" in result.output


def test_events_as_json_lines(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done", exit_code=0)
    events = EventWriter(directory.events_path, 1, 0)
    events.write("note", message="hello")
    events.close()
    result = invoke(command, "fire", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["message"] for line in result.output.splitlines()] == ["hello"]


def test_a_lost_run_is_said_to_be_lost_and_resumable(invoke: Invoke, new_run: Any) -> None:
    new_run(state="running", step=4)
    result = invoke(command, "fire")
    assert result.exit_code == 76
    assert "lost at step 4" in result.output
    assert "stoker resume fire" in result.output


def test_a_failure_is_shown_on_standard_error_with_the_log(invoke: Invoke, new_run: Any) -> None:
    error = {"rank": 1, "message": "a bug.", "hint": "", "log": "logs/x.log", "tail": ["ValueError: b"]}
    new_run(state="failed", exit_code=1, error=error)
    result = invoke(command, "fire")
    assert result.exit_code == 1
    for text in ("fire failed: a bug.", "ValueError: b", "Log: runs/fire/logs/x.log"):
        assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_a_watcher_follows_a_run_to_its_end(new_run: Any, start: Any, invoke: Invoke) -> None:
    directory = new_run()
    start(directory, "done")
    result = invoke(command, "fire", "--plain")
    assert result.exit_code == 0
    assert "fire: done at step 3" in result.output


def test_ctrl_c_leaves_the_run_alone(new_run: Any, start: Any) -> None:
    directory = new_run()
    start(directory, "hang")
    program = "from stoker.cli.watch import command; command()"
    watcher = subprocess.Popen(
        [sys.executable, "-c", program, str(directory.path.absolute())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "preparing\n"
    os.kill(watcher.pid, signal.SIGINT)
    _, errors = watcher.communicate(timeout=20)
    assert watcher.returncode == 0
    assert "goes on" in errors
    assert "stoker stop" in errors
    assert directory.effective_state() == "preparing"


def test_telemetry_is_among_the_lines_with_its_host(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done", exit_code=0)
    for path, kinds in (
        (directory.events_path, "ac"),
        (directory.telemetry_path / "node-1.jsonl", "bd"),
    ):
        path.parent.mkdir(exist_ok=True)
        lines = [{"v": 1, "t": ord(kind), "attempt": 1, "rank": 0, "kind": kind} for kind in kinds]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    result = invoke(command, "fire", "--json")
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [(line["kind"], line.get("host")) for line in lines] == [
        ("a", None),
        ("b", "node-1"),
        ("c", None),
        ("d", "node-1"),
    ]
