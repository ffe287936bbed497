"""The run directory: private, atomic, and honest about runs whose processes are gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stoker.errors import StorageError, UsageError
from stoker.recipe.model import Recipe
from stoker.run.directory import RunDirectory, find_run, list_runs
from stoker.run.lease import Lease


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_everything_in_a_run_directory_is_private(directory: RunDirectory) -> None:
    for path in (directory.path, *directory.path.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_new_run_keeps_the_recipe_as_written_and_as_resolved(
    directory: RunDirectory, recipe: Recipe
) -> None:
    from stoker.recipe.lock import read_lock

    assert directory.recipe_path.read_text() == recipe.text
    assert read_lock(directory.lock_path).fingerprint() == recipe.fingerprint()
    record = directory.read_record()
    assert (record.name, record.state, record.recipe_hash) == ("fire", "preparing", recipe.fingerprint())


def test_a_name_is_given_once_and_the_loser_leaves_nothing_behind(
    directory: RunDirectory, recipe: Recipe
) -> None:
    with pytest.raises(UsageError, match="exists"):
        RunDirectory.create(directory.path.parent, "fire", recipe)
    assert [path.name for path in directory.path.parent.iterdir()] == ["fire"]


def test_two_processes_that_change_the_record_at_once_lose_nothing(directory: RunDirectory) -> None:
    program = (
        "import sys; from pathlib import Path; from stoker.run.directory import RunDirectory\n"
        "d = RunDirectory(Path(sys.argv[1]))\n"
        "for n in range(1, 41): d.update_record(**{sys.argv[2]: n})"
    )
    command = [sys.executable, "-c", program, str(directory.path)]
    writers = [subprocess.Popen([*command, key]) for key in ("step", "total_steps")]
    while any(writer.poll() is None for writer in writers):
        directory.read_record()
    record = directory.read_record()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert (record.step, record.total_steps) == (40, 40)


def test_an_active_run_without_a_holder_of_its_lease_is_lost(directory: RunDirectory) -> None:
    directory.update_record(state="running")
    assert directory.effective_state() == "lost"
    lease = Lease.take(directory.lease_path)
    assert directory.effective_state() == "running"
    lease.release()
    assert directory.effective_state() == "lost"


def test_a_run_of_before_the_last_start_of_the_machine_is_lost(directory: RunDirectory) -> None:
    lease = Lease.take(directory.lease_path)
    directory.update_record(state="running", boot_id="another")
    assert directory.effective_state() == "lost"
    lease.release()


def test_a_new_run_is_not_lost_while_its_launcher_lives(directory: RunDirectory) -> None:
    assert directory.effective_state() == "preparing"
    directory.update_record(pid=dead_pid())
    assert directory.effective_state() == "lost"


@pytest.mark.parametrize("state", ["done", "failed", "stopped", "preempted"])
def test_a_run_that_ended_is_never_lost(directory: RunDirectory, state: str) -> None:
    directory.update_record(state=state, pid=dead_pid())
    assert directory.effective_state() == state


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a run directory.*run\.json"):
        RunDirectory(tmp_path).read_record()


def test_a_damaged_record_is_named(directory: RunDirectory) -> None:
    directory.record_path.write_text('{"v": 1, "name"')
    with pytest.raises(StorageError, match=r"run\.json"):
        directory.read_record()


def test_keys_of_a_later_version_are_left_out(directory: RunDirectory) -> None:
    text = directory.record_path.read_text().replace("{", '{"colour": "red",', 1)
    directory.record_path.write_text(text)
    assert directory.read_record().name == "fire"


def test_runs_are_found_by_name_and_by_path(directory: RunDirectory) -> None:
    parent = directory.path.parent
    assert find_run("fire", parent).path == directory.path
    assert find_run(str(directory.path), Path("nowhere")).path == directory.path


def test_an_unknown_run_is_answered_with_the_nearest_name(directory: RunDirectory) -> None:
    with pytest.raises(UsageError, match="Did you mean 'fire'"):
        find_run("fyre", directory.path.parent)


def test_what_is_no_run_is_not_listed(directory: RunDirectory, recipe: Recipe) -> None:
    parent = directory.path.parent
    (parent / "notes").mkdir()
    (parent / "broken").mkdir()
    (parent / "broken" / "run.json").write_text("{")
    RunDirectory.create(parent, "aaa", recipe)
    assert [run.name for run in list_runs(parent)] == ["fire", "aaa"]


def age(path: Path, seconds: float) -> None:
    """As if it had been touched last so long ago."""
    path.touch()
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_run_of_another_machine_works_while_it_renews_its_lease(directory: RunDirectory) -> None:
    directory.update_record(state="running", host="elsewhere")
    age(directory.lease_path, 20)
    assert directory.effective_state() == "running"
    age(directory.lease_path, 90)
    assert directory.effective_state() == "lost"
    lease = Lease.take(directory.lease_path)
    age(directory.lease_path, 90)
    assert directory.effective_state() == "running", "a lock that is held is better than any clock"
    lease.release()


@pytest.mark.parametrize("seconds", [0, 90, -9000])
def test_who_would_go_on_with_it_watches_for_a_sign_of_life(
    directory: RunDirectory, seconds: float
) -> None:
    """Whatever the clocks say: the other machine's may be wrong."""
    directory.update_record(state="running", host="elsewhere")
    age(directory.lease_path, seconds)
    said: list[str] = []
    assert directory.settled_state(said.append, 0.3) == "lost"
    assert said == ["fire was at work on elsewhere: looking for a sign of life for 0 s"]
    touch = threading.Timer(0.1, os.utime, (directory.lease_path,))
    touch.start()
    assert directory.settled_state(seconds=20.0) == "running"
    touch.join()


def test_nobody_watches_where_the_machine_is_this_one_or_the_run_has_ended(
    directory: RunDirectory,
) -> None:
    directory.update_record(state="running")
    assert directory.settled_state() == "lost"
    directory.update_record(state="preempted", host="elsewhere")
    assert directory.settled_state() == "preempted"
