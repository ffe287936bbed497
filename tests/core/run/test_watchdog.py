"""Ranks that hang are found in time, the right one is named, and none is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from stoker.recipe.schema import LaunchTable
from stoker.run.attempt import take_over
from stoker.run.directory import RunDirectory
from stoker.run.events import Event, read_events
from stoker.run.heartbeat import Heartbeat
from stoker.run.interrupts import Interrupts
from stoker.run.ranks import RankProcess, Topology
from stoker.run.stacks import innermost_lines
from stoker.run.supervisor import supervise_node, supervise_run
from stoker.run.waiting import Patience
from stoker.run.watchdog import Watchdog, beat_path

Fake = Callable[[str], list[str]]
HASTY = Patience(restart_seconds=0.1, poll_seconds=0.02, start_seconds=0.0)
HANG_SECONDS = 2


def supervise(directory: RunDirectory, behaviours: list[str], max_restarts: int = 0) -> int:
    lease = take_over(directory)
    try:
        return supervise_run(
            directory,
            Topology(nproc=behaviours[-1].count(",") + 1),
            lease,
            Interrupts(directory),
            command=behaviours,
            patience=HASTY,
            launch=LaunchTable(hang_seconds=HANG_SECONDS, max_restarts=max_restarts),
        )
    finally:
        lease.release()


def hang_of(directory: RunDirectory) -> Event:
    events = read_events(directory.events_path)
    return next(event for event in events if "hung_rank" in event)


def none_is_left(directory: RunDirectory) -> bool:
    return not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(directory.path) in (process.info["cmdline"] or [])
    ]


def test_a_stopped_rank_is_named_and_the_others_do_not_wait_for_ever(
    directory: RunDirectory, fake: Fake
) -> None:
    started = time.monotonic()
    assert supervise(directory, fake("wait,freeze")) == 1
    assert time.monotonic() - started < 3 * HANG_SECONDS + 20
    record = directory.read_record()
    assert (record.state, record.exit_code) == ("failed", 1)
    assert record.error is not None
    assert record.error["rank"] == 1
    assert "rank 1 hangs in phase 'step 3'" in record.error["message"]
    assert "it is stopped (SIGSTOP), so it cannot say where it is" in record.error["message"]
    event = hang_of(directory)
    assert (event["rank"], event["hung_rank"], event["phase"], event["stack"]) == (-1, 1, "step 3", None)
    assert event["silent_seconds"] >= HANG_SECONDS
    assert "rank 0 in phase 'step 4': it is at fake_rank.py" in event["others"][0]
    assert none_is_left(directory)


def test_a_rank_in_an_endless_loop_says_where_it_is(directory: RunDirectory, fake: Fake) -> None:
    assert supervise(directory, fake("spin,wait")) == 1
    event = hang_of(directory)
    assert (event["hung_rank"], event["stack"]) == (0, "logs/attempt-1/rank-0.stack")
    assert "in spin, called from fake_rank.py" in event["message"]
    error = directory.read_record().error
    assert error is not None
    assert error["message"] == event["message"]
    assert "logs/attempt-1/rank-0.stack" in error["hint"]
    stack = directory.path / event["stack"]
    assert "in spin" in stack.read_text()
    assert stack.stat().st_mode & 0o777 == 0o600
    assert list(directory.attempt_path(1).glob("*.beat")) == []
    assert none_is_left(directory)


def test_a_hang_is_a_failure_that_a_restart_may_mend(directory: RunDirectory, fake: Fake) -> None:
    assert supervise(directory, fake("once-frozen"), max_restarts=1) == 0
    record = directory.read_record()
    assert (record.state, record.attempt) == ("done", 2)
    assert hang_of(directory)["hung_rank"] == 0


def test_a_hang_on_a_node_without_the_run_directory_is_found_there(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = Topology(nproc=1, nodes=2, node_rank=1, rendezvous="127.0.0.1:29500")
    table = LaunchTable(hang_seconds=HANG_SECONDS)
    command = fake("done,freeze")
    assert supervise_node(topology, Interrupts(), command=command, patience=HASTY, launch=table) == 1
    assert "rank 1 hangs in phase 'step 3'" in capsys.readouterr().err


@contextmanager
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[list[RankProcess]]:
    """Two that live and say nothing by themselves."""
    with sleeping() as first, sleeping() as second:
        yield [RankProcess(rank, each, tmp_path / "log") for rank, each in enumerate((first, second))]


def beats(folder: Path) -> list[Heartbeat]:
    return [Heartbeat(beat_path(folder, rank)) for rank in (0, 1)]


def test_one_rank_that_works_is_enough_for_the_others_to_wait(
    ranks: list[RankProcess], tmp_path: Path
) -> None:
    watchdog, (first, _) = Watchdog(ranks, tmp_path, 10), beats(tmp_path)
    for now in range(100):
        first.beat("saving step 3")
        assert watchdog.look(now) is None


def test_ranks_have_more_time_before_their_first_step_is_done(
    ranks: list[RankProcess], tmp_path: Path
) -> None:
    watchdog, (first, _) = Watchdog(ranks, tmp_path, 10, start_seconds=40), beats(tmp_path)
    first.beat("step 41")
    assert not any(watchdog.look(now) for now in range(41))
    assert watchdog.look(41) is not None
    first.is_warm = True
    first.beat("step 42")
    assert not any(watchdog.look(42 + now) for now in range(11))
    hang = watchdog.look(42 + 11)
    assert hang is not None
    # It has not come as far as the other, though both are silent.
    assert (hang.rank, hang.phase) == (1, "starting")


def test_a_first_step_that_is_over_before_anyone_looked_is_over(
    ranks: list[RankProcess], tmp_path: Path
) -> None:
    watchdog, (first, _) = Watchdog(ranks, tmp_path, 10), beats(tmp_path)
    first.is_warm = True
    first.beat("step 9")
    assert not any(watchdog.look(now) for now in range(11))
    assert watchdog.look(11) is not None


def test_three_times_as_long_and_at_least_two_minutes(tmp_path: Path) -> None:
    """Importing torch on a busy machine takes tens of seconds, whatever a step takes."""
    assert [Watchdog([], tmp_path, seconds).start_seconds for seconds in (10, 600)] == [120, 1800]


def test_time_in_which_the_supervisor_itself_did_not_run_does_not_count(
    ranks: list[RankProcess], tmp_path: Path
) -> None:
    watchdog = Watchdog(ranks, tmp_path, 10)
    assert watchdog.look(0) is None
    assert watchdog.look(10**6) is None


def test_nothing_is_watched_where_the_recipe_says_never(
    ranks: list[RankProcess], tmp_path: Path
) -> None:
    watchdog = Watchdog(ranks, tmp_path, 0)
    assert not any(watchdog.look(now) for now in range(10**4))


def test_the_main_threads_innermost_calls_are_read_from_a_dump() -> None:
    dump = (
        'Thread 0x1 (most recent call first):\n  File "/a/threading.py", line 5 in wait\n\n'
        'Current thread 0x2 (most recent call first):\n  File "/a/hook.py", line 7 in spin\n'
        '  File "/a/loop.py", line 88 in train\n'
    )
    assert innermost_lines(dump) == ["hook.py:7 in spin", "loop.py:88 in train"]
    assert innermost_lines("") == []
    assert os.sep not in innermost_lines(dump)[0]


def test_a_sign_of_life_that_finds_no_room_ends_nothing() -> None:
    """On a device that is always full."""
    Heartbeat(Path("/dev/full")).beat("step 1")
