"""`stoker resume`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from stoker.cli.resume import command
from stoker.errors import StokerError, StorageError, UsageError
from stoker.recipe.lock import read_lock
from stoker.run.lease import Lease

Invoke = Callable[..., Any]
WithRanks = Callable[[str], None]


@pytest.mark.parametrize("state", ["failed", "stopped", "preempted", "running"])
def test_a_run_that_did_not_finish_goes_on(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks, state: str
) -> None:
    directory = new_run(state=state, attempt=1)
    with_ranks("done")
    result = invoke(command, "fire")
    assert result.exit_code == 0, result.output
    record = directory.read_record()
    assert (record.attempt, record.state, record.error) == (2, "done", None)


def test_changed_values_are_in_the_lock(invoke: Invoke, new_run: Any, with_ranks: WithRanks) -> None:
    directory = new_run(state="stopped")
    with_ranks("done,done")
    arguments = ("--nproc", 2, "--set", "train.steps=9", "--allow-change", "train.steps")
    assert invoke(command, "fire", *arguments).exit_code == 0
    recipe = read_lock(directory.lock_path)
    assert recipe.train.steps == 9
    assert recipe.fingerprint() == directory.read_record().recipe_hash
    assert directory.read_record().nproc == 2


def test_a_change_that_is_not_allowed_starts_nothing(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="stopped")
    assert isinstance(invoke(command, "fire", "--set", "train.steps=9").exception, UsageError)
    assert directory.read_record().attempt == 0
    assert read_lock(directory.lock_path).train.steps == 3


def test_a_run_that_works_or_is_done_does_not_go_on(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="running")
    lease = Lease.take(directory.lease_path)
    assert isinstance(invoke(command, "fire").exception, UsageError)
    lease.release()
    directory.update_record(state="done")
    error = invoke(command, "fire").exception
    assert isinstance(error, UsageError)
    assert "--set train.steps" in error.hint


def test_what_differs_is_shown_with_its_class_before_anything_starts(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks
) -> None:
    new_run(state="stopped")
    with_ranks("done")
    changes = ("--set", "train.steps=9", "--set", "train.log_every=1", "--set", "train.batch_size=32")
    result = invoke(command, "fire", *changes, "--allow-change", "train")
    assert result.exit_code == 0, result.output
    first, second, *rest = result.output.splitlines()
    assert first == "train.log_every: 10 -> 1 (safe)"
    assert second == "train.steps: 3 -> 9 (changes what is trained)"
    assert not any("batch_size" in line for line in rest), "32 is what it was"


def test_with_json_the_changes_are_not_among_the_events(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks
) -> None:
    new_run(state="stopped")
    with_ranks("done")
    result = invoke(command, "fire", "--set", "train.log_every=1", "--json")
    assert [json.loads(line)["v"] for line in result.stdout.splitlines()]
    assert "train.log_every: 10 -> 1 (safe)" in result.stderr


def test_ranks_that_a_change_asks_for_are_started(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks
) -> None:
    directory = new_run(state="stopped")
    with_ranks("done,done")
    assert invoke(command, "fire", "--set", "launch.gpus_per_node=2").exit_code == 0
    assert directory.read_record().nproc == 2


def test_without_being_told_it_goes_on_with_the_ranks_it_had(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks
) -> None:
    directory = new_run(state="stopped", attempt=1, nproc=2)
    with_ranks("done,done")
    assert invoke(command, "fire").exit_code == 0
    assert directory.read_record().nproc == 2
    assert read_lock(directory.lock_path).launch.gpus_per_node == 1


ERROR = {"rank": 0, "exit_code": 71, "message": "not finite.", "hint": "", "log": "x", "tail": []}


def test_batches_are_left_out_from_the_one_that_failed(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks
) -> None:
    directory = new_run(state="failed", attempt=1, error=ERROR | {"step": 2})
    with_ranks("done")
    result = invoke(command, "fire", "--skip-batches", 3)
    assert result.exit_code == 0, result.output
    assert "left out: batches 2 to 4" in result.output
    assert directory.read_record().facts["skipped_batches"] == [
        {"step": 2, "batch": 2, "batches": 3, "attempt": 1}
    ]


@pytest.mark.parametrize("error", [None, ERROR | {"step": None}])
def test_without_a_step_that_was_not_finite_there_is_no_batch_to_leave_out(
    invoke: Invoke, new_run: Any, error: dict[str, Any] | None
) -> None:
    directory = new_run(state="failed", attempt=1, error=error)
    refused = invoke(command, "fire", "--skip-batches", 1).exception
    assert isinstance(refused, UsageError)
    assert "no batch to begin with" in refused.message
    assert (directory.read_record().attempt, directory.read_record().facts) == (1, {})


def test_a_refused_change_leaves_the_order_of_batches_alone(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="failed", attempt=1, error=ERROR | {"step": 2})
    changes = ("--skip-batches", 1, "--set", "train.learning_rate=0.01")
    assert isinstance(invoke(command, "fire", *changes).exception, UsageError)
    assert directory.read_record().facts == {}


def test_a_change_of_a_run_that_someone_else_is_starting_is_refused_and_not_made(
    invoke: Invoke, new_run: Any
) -> None:
    """Its ranks are about to read the recipe."""
    directory = new_run(state="stopped")
    lease = Lease.take(directory.lease_path)
    arguments = ("--set", "train.steps=9", "--allow-change", "train.steps")
    error = invoke(command, "fire", *arguments).exception
    lease.release()
    assert isinstance(error, UsageError)
    assert "already running" in error.message
    assert read_lock(directory.lock_path).train.steps == 3


def test_a_run_goes_on_after_the_machine_it_was_on_has_disappeared(
    invoke: Invoke, new_run: Any, with_ranks: WithRanks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record says "running" for ever."""
    monkeypatch.setattr("stoker.run.directory.is_renewed", lambda paths, seconds: False)
    new_run(state="running", attempt=1, host="gone")
    with_ranks("done")
    result = invoke(command, "fire")
    assert result.exit_code == 0, result.output
    assert "fire was at work on gone" in result.output


def test_a_combination_that_check_would_refuse_is_refused_and_not_kept(
    invoke: Invoke, new_run: Any
) -> None:
    """Of options of one plugin, and of two plugins."""
    directory = new_run(state="stopped")
    before = directory.lock_path.read_text()
    for override, words in (
        ("plugins.spot={provider='file'}", "notice_file"),
        ("plugins={fsdp={}, zero={stage=2}}", "engine"),
    ):
        key = override.partition("=")[0]
        error = invoke(command, "fire", "--set", override, "--allow-change", key).exception
        assert isinstance(error, StokerError)
        assert error.exit_code == 2
        assert words in str(error)
    assert directory.lock_path.read_text() == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stps=9", "--set train.stps: there is no such key. Did you mean 'steps'?"),
        ("plugins.spot={provider='fil'}", "--set plugins.spot.provider: expected"),
        ("checkpoint.every=banana", 'expected a string like "200 steps"'),
        ("checkpoint.keep=0", "expected a number of at least 1"),
    ],
)
def test_a_value_that_is_wrong_is_said_in_words_to_be(
    invoke: Invoke, new_run: Any, override: str, words: str
) -> None:
    new_run(state="stopped")
    error = invoke(command, "fire", "--set", override).exception
    assert isinstance(error, UsageError)
    assert words in str(error)


def test_a_run_directory_that_cannot_be_written_is_an_error_of_storage(
    invoke: Invoke, new_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(state="stopped")
    opened = os.open

    def read_only(path: Any, flags: int, *given: Any, **more: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *given, **more)

    monkeypatch.setattr(os, "open", read_only)
    error = invoke(command, "fire", "--set", "checkpoint.keep=3").exception
    assert isinstance(error, StorageError)
    assert "Read-only file system" in error.message
