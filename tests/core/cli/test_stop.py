"""`stoker stop`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from stoker.cli.stop import command
from stoker.run import control

Invoke = Callable[..., Any]


def test_a_run_saves_and_is_stopped_when_the_command_returns(
    invoke: Invoke, new_run: Any, start: Any
) -> None:
    directory = new_run()
    launched = start(directory, "hang")
    result = invoke(command, "fire")
    assert result.exit_code == 0
    assert "fire is stopped at step 2. Go on with: stoker resume fire" in result.output
    assert launched.process.wait(timeout=10) == 75


def test_without_waiting_only_the_request_is_written(invoke: Invoke, new_run: Any, start: Any) -> None:
    directory = new_run()
    start(directory, "hang")
    result = invoke(command, "fire", "--no-wait")
    assert "was asked to stop" in result.output
    assert [each.kind for each in control.pending(directory)] == ["stop"]


def test_stopping_what_does_not_run_changes_nothing(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done")
    result = invoke(command, "fire", "--json")
    assert result.exit_code == 0
    assert json.loads(result.output) == {"name": "fire", "state": "done", "step": 0}
    assert control.pending(directory) == []
