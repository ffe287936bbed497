"""`stoker show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from stoker.cli.show import command
from stoker.errors import UsageError
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter

Invoke = Callable[..., Any]


def fill(directory: RunDirectory) -> None:
    """A little history: a step trained twice, two evaluations, a checkpoint."""
    for attempt, loss in ((1, 9.0), (2, 1.25)):
        events = EventWriter(directory.events_path, attempt, 0)
        events.write("step", step=3, loss=loss, tokens_per_second=1234.0)
        events.close()
    events = EventWriter(directory.events_path, 2, 0)
    for step, loss in ((0, 3.0), (3, 1.5)):
        events.write("evaluate", step=step, eval_loss=loss, best_step=step)
    events.close()
    (directory.checkpoints_path / "step-00000003").mkdir()


def test_a_run_on_one_page(invoke: Invoke, new_run: Any) -> None:
    error = {
        "rank": 1,
        "message": "no\x1b[2J space.",
        "hint": "Make room.",
        "log": "logs/attempt-2/rank-1.log",
    }
    directory = new_run(state="failed", exit_code=73, attempt=2, step=3, total_steps=9, error=error)
    fill(directory)
    output = invoke(command, "fire").output
    assert "3.0000 at step 0, the best" not in output
    for text in (
        "failed (73)",
        "3 of 9",
        "1.2500 at step 3, 1,234 tokens/s",
        "3.0000 at step 0",
        "1.5000 at step 3, the best",
        "step-00000003",
        "no?[2J space. Make room.",
        "runs/fire/logs/attempt-2/rank-1.log",
    ):
        assert text in output


def test_a_run_as_json(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="done", result="checkpoints/step-00000003")
    fill(directory)
    shown = json.loads(invoke(command, "fire", "--json").output)
    assert shown["run"]["result"] == "checkpoints/step-00000003"
    assert (shown["last_step"]["loss"], shown["last_step"]["attempt"]) == (1.25, 2)
    assert [each["step"] for each in shown["evaluations"]] == [0, 3]
    assert shown["checkpoints"] == ["step-00000003"]


def test_an_unknown_run_is_a_usage_error(invoke: Invoke, new_run: Any) -> None:
    new_run("fire")
    assert isinstance(invoke(command, "fier").exception, UsageError)
