"""`stoker resume`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stoker.cli.resume import command
from stoker.errors import UsageError
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
