"""`stoker logs`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

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


def note(directory: RunDirectory, t: float, **sizes: int) -> None:
    sample = {"t": t, "kind": "sizes", "bytes": {rank.removeprefix("r"): n for rank, n in sizes.items()}}
    with (directory.attempt_path(1) / "arrivals.jsonl").open("a") as file:
        file.write(json.dumps(sample) + "\n")


def test_the_last_lines_harmless_or_as_json(invoke: Invoke, new_run: Any) -> None:
    write(new_run(attempt=1, state="done"), 1, 0, "a\nb\x1b[31m\x07\nc\n")
    assert invoke(command, "fire", "-n", 2).output == "b\\x07\nc\n"
    assert invoke(command, "fire", "-n", 0).output == ""
    lines = invoke(command, "fire", "--json", "-n", 1).output.splitlines()
    log = "logs/attempt-1/rank-0.log"
    line = {"attempt": 1, "rank": 0, "log": log, "t": None, "level": None, "line": "c"}
    assert [json.loads(line) for line in lines] == [line]


def test_lines_of_several_ranks_come_in_their_order_after_their_rank(
    invoke: Invoke, new_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    directory = new_run(attempt=1, state="done")
    write(directory, 1, 0, "a\nERROR b\n")
    write(directory, 1, 1, "A\nWARNING B\n")
    write(directory, 1, 2, "alpha\n")
    note(directory, 1.0, r1=2)
    note(directory, 2.0, r0=10, r1=12, r2=6)
    merged = "r1 A\nr0 a\nr0 ERROR b\nr1 WARNING B\n"
    assert invoke(command, "fire", "--rank", "0", "--rank", "1").output == merged
    assert invoke(command, "fire", "--rank", "all").output == f"{merged}r2 alpha\n"
    serious = invoke(command, "fire", "--rank", "all", "--level", "error", "--times").output
    assert serious == "00:00:02 r0 ERROR b\n"
    assert invoke(command, "fire", "--rank", "all", "--grep", "A").output.split() == [
        "r1", "A", "r1", "WARNING", "B"
    ]  # fmt: skip
    assert invoke(command, "fire", "--rank", "2", "--grep", "/^al.*a$").output == "alpha\n"
    found = invoke(command, "fire", "--rank", "all", "--json", "--level", "warning").output
    keys = [(line["rank"], line["t"], line["level"]) for line in map(json.loads, found.splitlines())]
    assert keys == [(0, 2.0, "error"), (1, 2.0, "warning")]


def test_logs_of_others_are_found_by_their_names(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(attempt=1, state="failed")
    write(directory, 1, 0, "")
    (directory.attempt_path(1) / "trackers.log").write_text("sent\n")
    directory.supervisor_log_path.write_text("no more processes\n")
    assert invoke(command, "fire", "--rank", "trackers").output == "sent\n"
    line = json.loads(invoke(command, "fire", "--rank", "supervisor", "--json").output)
    assert (line["rank"], line["log"]) == (None, "logs/supervisor.log")


def test_an_expression_that_is_none_is_refused(invoke: Invoke, new_run: Any) -> None:
    write(new_run(attempt=1), 1, 0, "")
    error = invoke(command, "fire", "--grep", "/[/").exception
    assert isinstance(error, UsageError)


def test_a_log_that_does_not_exist_names_those_that_do(invoke: Invoke, new_run: Any) -> None:
    write(new_run(attempt=1), 1, 0, "")
    error = invoke(command, "fire", "--rank", 5).exception
    assert isinstance(error, UsageError)
    assert "attempt-1/rank-0" in error.hint


def test_following_ends_with_the_run(invoke: Invoke, new_run: Any, start: Any) -> None:
    directory = new_run()
    start(directory, "done").process.wait()
    assert invoke(command, "fire", "--follow").output == "rank 0\n"
