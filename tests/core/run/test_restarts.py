"""Restarts: after failures that may pass, not after others, and never against a stop."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.cli.run import make_topology
from stoker.errors import UsageError
from stoker.recipe.model import Recipe
from stoker.recipe.schema import LaunchTable
from stoker.run import control
from stoker.run.attempt import take_over
from stoker.run.directory import RunDirectory
from stoker.run.events import Event, read_events
from stoker.run.interrupts import Interrupts
from stoker.run.launch import Launched, launch
from stoker.run.ranks import Topology
from stoker.run.restarts import Restarts
from stoker.run.supervisor import supervise_run
from stoker.run.waiting import Patience

Fake = Callable[[str], list[str]]
HASTY = Patience(
    notice_seconds=0.8,
    terminate_seconds=0.5,
    leave_seconds=0.5,
    restart_seconds=0.1,
    poll_seconds=0.02,
)


def supervise(
    directory: RunDirectory, command: list[str], interrupts: Interrupts | None = None, ranks: int = 1
) -> int:
    lease = take_over(directory)
    try:
        return supervise_run(
            directory,
            Topology(nproc=ranks),
            lease,
            interrupts or Interrupts(directory),
            command=command,
            patience=HASTY,
            launch=LaunchTable(max_restarts=2),
        )
    finally:
        lease.release()


def with_restarts(recipe: Recipe, most: int) -> Recipe:
    launch = LaunchTable(max_restarts=most)
    return dataclasses.replace(recipe, tables=recipe.tables.model_copy(update={"launch": launch}))


def alerts(directory: RunDirectory) -> list[Event]:
    return [event for event in read_events(directory.events_path) if event["kind"] == "alert"]


@pytest.mark.parametrize("how", ["1", "73", "killed"])
def test_a_failure_that_may_pass_is_followed_by_a_new_attempt(
    directory: RunDirectory, fake: Fake, how: str
) -> None:
    assert supervise(directory, fake(f"once-{how},once-{how}"), ranks=2) == 0
    record = directory.read_record()
    assert (record.state, record.attempt, record.exit_code, record.error) == ("done", 2, 0, None)
    assert directory.log_path(1, 0).exists()
    assert directory.log_path(2, 0).exists()
    (alert,) = alerts(directory)
    assert (alert["attempt"], alert["restart"], alert["max_restarts"]) == (1, 1, 2)
    assert alert["exit_code"] == (73 if how == "73" else 1)
    assert "restart 1 of 2 in 0.1 s" in alert["message"]
    assert ("SIGKILL" if how == "killed" else "no luck") in alert["message"]


@pytest.mark.parametrize("code", [2, 3, 4, 5, 71, 75, 76])
def test_an_end_that_would_come_again_or_was_wanted_is_the_end(
    directory: RunDirectory, fake: Fake, code: int
) -> None:
    assert supervise(directory, fake(f"once-{code}")) == code
    assert directory.read_record().attempt == 1
    assert alerts(directory) == []


def test_after_the_last_restart_the_run_fails_as_its_last_attempt_did(
    directory: RunDirectory, fake: Fake
) -> None:
    assert supervise(directory, fake("bug")) == 1
    record = directory.read_record()
    assert (record.state, record.attempt, record.exit_code) == ("failed", 3, 1)
    assert record.error is not None
    assert record.error["log"] == "logs/attempt-3/rank-0.log"
    assert [alert["restart"] for alert in alerts(directory)] == [1, 2]
    assert [alert["restart_seconds"] for alert in alerts(directory)] == [0.1, 0.2]


def test_the_time_before_a_restart_doubles_up_to_five_minutes() -> None:
    restarts = Restarts(9, Patience())
    found = [restart.seconds for _ in range(9) if (restart := restarts.after(1)) is not None]
    assert found == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert restarts.after(1) is None


def test_a_run_that_was_asked_to_stop_and_fails_is_not_started_again(
    directory: RunDirectory, fake: Fake
) -> None:
    interrupts = Interrupts(directory)
    interrupts.wanted = True
    assert supervise(directory, fake("bug"), interrupts) == 1
    assert directory.read_record().attempt == 1


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "a request"])
def test_while_a_restart_is_due_the_run_is_active_and_can_be_stopped(
    tmp_path: Path,
    new_recipe: Callable[..., Recipe],
    fake: Fake,
    end: Callable[[Launched], Launched],
    how: str,
) -> None:
    recipe = with_restarts(new_recipe(), 1)
    directory = RunDirectory.create(tmp_path / "runs", "fire", recipe)
    launched = end(launch(directory, Topology(), foreground=False, program=fake("once-1")))
    deadline = time.monotonic() + 30
    while not directory.events_path.exists() or not alerts(directory):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert directory.effective_state() == "preparing"
    assert directory.read_record().exit_code is None
    if how == "a request":
        control.request(directory, "stop")
    else:
        launched.process.send_signal(signal.Signals[how])
    assert launched.process.wait(timeout=10) == 75
    record = directory.read_record()
    assert (record.state, record.exit_code, record.attempt) == ("stopped", 75, 1)


def test_several_nodes_are_for_the_cluster_to_restart(new_recipe: Callable[..., Recipe]) -> None:
    recipe = with_restarts(new_recipe(), 3)
    assert make_topology(recipe, None, None, 0, None).nodes == 1
    with pytest.raises(UsageError, match=r"max_restarts = 3 .* 2\.") as caught:
        make_topology(recipe, None, 2, 1, "127.0.0.1:29500")
    assert "cluster" in caught.value.hint
