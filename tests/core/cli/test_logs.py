"""`stoker logs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from stoker.cli.logs import command
from stoker.errors import UsageError
from stoker.run.directory import RunDirectory

Invoke = Callable[..., Any]


def write(directory: RunDirectory, attempt: int, rank: int, text: str) -> None:
    path = directory.log_path(attempt, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_log_of_rank_0_is_shown_unless_another_failed(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(attempt=2)
    for attempt, rank in ((1, 0), (2, 0), (2, 1)):
        write(directory, attempt, rank, f"attempt {attempt} rank {rank}\n")
    assert invoke(command, "fire").output == "attempt 2 rank 0\n"
    assert invoke(command, "fire", "--attempt", 1).output == "attempt 1 rank 0\n"
    directory.update_record(state="failed", error={"rank": 1, "message": "m"})
    assert invoke(command, "fire").output == "attempt 2 rank 1\n"
    assert invoke(command, "fire", "--rank", 0).output == "attempt 2 rank 0\n"


def test_the_last_lines_harmless_or_as_json(invoke: Invoke, new_run: Any) -> None:
    write(new_run(attempt=1, state="done"), 1, 0, "a\nb\x1b[31m\nc\n")
    assert invoke(command, "fire", "-n", 2).output == "b?[31m\nc\n"
    lines = invoke(command, "fire", "--json", "-n", 1).output.splitlines()
    assert [json.loads(line) for line in lines] == [{"attempt": 1, "rank": 0, "line": "c"}]


def test_a_log_that_does_not_exist_names_those_that_do(invoke: Invoke, new_run: Any) -> None:
    write(new_run(attempt=1), 1, 0, "")
    error = invoke(command, "fire", "--rank", 5).exception
    assert isinstance(error, UsageError)
    assert "attempt-1/rank-0" in error.hint


def test_following_ends_with_the_run(invoke: Invoke, new_run: Any, start: Any) -> None:
    directory = new_run()
    start(directory, "done").process.wait()
    assert invoke(command, "fire", "--follow").output == "rank 0\n"
