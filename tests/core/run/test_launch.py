"""Processes for real: Ctrl-C, a lost terminal, a killed supervisor, two launches at once."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stoker.errors import UsageError
from stoker.run import control
from stoker.run.directory import RunDirectory
from stoker.run.host import host_name
from stoker.run.launch import Launched, launch
from stoker.run.lease import describe_holder, is_held
from stoker.run.ranks import Topology

Fake = Callable[[str], list[str]]
End = Callable[[Launched], Launched]

LAUNCH_AND_WAIT = """
import sys, time
from pathlib import Path
from stoker.run.directory import RunDirectory
from stoker.run.launch import launch
from stoker.run.ranks import Topology
directory = RunDirectory(Path(sys.argv[1]))
launched = launch(directory, Topology(), foreground=sys.argv[2] == "foreground", program=sys.argv[3:])
print(launched.process.pid, flush=True)
time.sleep(60)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def wait_for_ranks(directory: RunDirectory, count: int = 1) -> None:
    """Until the ranks handle signals."""
    wait_for(lambda: all((directory.path / f"ready-{rank}").exists() for rank in range(count)))


def is_over(directory: RunDirectory) -> bool:
    return directory.effective_state() not in ("preparing", "running", "saving")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_supervisor_saves_on_all_ranks_and_ends_in_75(
    directory: RunDirectory, fake: Fake, end: End, number: signal.Signals
) -> None:
    launched = end(launch(directory, Topology(nproc=2), foreground=False, program=fake("hang")))
    wait_for_ranks(directory, 2)
    launched.process.send_signal(number)
    assert launched.process.wait(timeout=20) == 75
    record = directory.read_record()
    assert (record.state, record.exit_code, record.step) == ("stopped", 75, 2)
    assert directory.outcome_path(1, 1).exists()
    # Ranks learn which: plugins take some signals for a preemption, but not Ctrl-C.
    assert sorted(path.name for path in directory.path.glob("got-*")) == [
        f"got-0-{number.name}",
        f"got-1-{number.name}",
    ]


def test_a_signal_that_asks_for_a_checkpoint_reaches_all_ranks_and_stops_none(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    launched = end(launch(directory, Topology(nproc=2), foreground=False, program=fake("hang")))
    # Neither the supervisor nor the ranks can handle it yet; it waits for them.
    launched.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: all((directory.path / f"saved-{rank}").exists() for rank in (0, 1)))
    assert launched.process.poll() is None
    launched.process.terminate()
    assert launched.process.wait(timeout=20) == 75


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_rank_that_has_only_just_started_waits_until_it_is_heard(
    directory: RunDirectory, fake: Fake, end: End, number: signal.Signals
) -> None:
    launched = end(launch(directory, Topology(nproc=2), foreground=False, program=fake("hang")))
    supervisor = psutil.Process(launched.process.pid)
    wait_for(lambda: bool(supervisor.children()))
    supervisor.children()[0].send_signal(number)
    assert launched.process.wait(timeout=30) == 75
    assert directory.read_record().state == "stopped"


def test_a_signal_that_comes_before_the_supervisor_can_handle_it_is_not_lost(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("hang")))
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(timeout=20) == 75
    assert directory.read_record().state == "stopped"


def test_a_request_made_right_after_the_launch_is_not_dropped(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("hang")))
    control.request(directory, "stop")
    assert launched.process.wait(timeout=20) == 75


def test_a_second_ctrl_c_leaves_at_once_with_76(directory: RunDirectory, fake: Fake, end: End) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("slow")))
    wait_for_ranks(directory)
    launched.process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    launched.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert launched.process.wait(timeout=20) == 76
    assert time.monotonic() - started < 2
    record = directory.read_record()
    assert (record.state, record.exit_code) == ("stopped", 76)


def test_one_ctrl_c_that_arrives_twice_is_one(directory: RunDirectory, fake: Fake, end: End) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("slow")))
    wait_for_ranks(directory)
    # Whoever signals a whole group of processes reaches the supervisor directly and by `stoker run`.
    launched.process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    launched.process.send_signal(signal.SIGINT)
    assert launched.process.wait(timeout=20) == 75


def test_a_second_sigterm_does_not_disturb_the_saving(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("hang")))
    wait_for_ranks(directory)
    launched.process.send_signal(signal.SIGTERM)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.process.wait(timeout=20) == 75


def test_a_foreground_run_saves_and_stops_when_its_command_is_killed(
    directory: RunDirectory, fake: Fake
) -> None:
    command = [sys.executable, "-c", LAUNCH_AND_WAIT, str(directory.path), "foreground"]
    process = subprocess.Popen([*command, *fake("hang")])
    wait_for_ranks(directory)
    process.kill()
    process.wait()
    wait_for(lambda: is_over(directory))
    assert directory.read_record().exit_code == 75


@pytest.mark.parametrize(("how", "survives"), [("detached", True), ("foreground", False)])
def test_only_a_detached_run_survives_its_terminal(
    directory: RunDirectory, fake: Fake, how: str, survives: bool
) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = ["-c", LAUNCH_AND_WAIT, str(directory.path), how, *fake("hang")]
        os.execv(sys.executable, [sys.executable, *arguments])
    supervisor = int(os.read(terminal, 100))
    wait_for_ranks(directory)
    os.close(terminal)
    os.waitpid(pid, 0)
    if survives:
        time.sleep(0.5)
        assert directory.effective_state() == "preparing"
        os.kill(supervisor, signal.SIGTERM)
    wait_for(lambda: is_over(directory))
    assert directory.read_record().exit_code == 75


def test_a_second_launch_is_refused_while_the_first_runs(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("hang")))
    holder = f"already running: process {launched.process.pid} on {host_name()}"
    wait_for(lambda: describe_holder(directory.lease_path) in holder)
    with pytest.raises(UsageError, match=holder) as caught:
        launch(directory, Topology(), foreground=False, program=fake("hang"))
    assert caught.value.exit_code == 2
    wait_for(lambda: directory.read_record().attempt == 1)
    wait_for_ranks(directory)
    launched.process.terminate()
    assert launched.process.wait(timeout=20) == 75
    assert directory.read_record().attempt == 1


def test_of_two_launches_at_once_exactly_one_runs(directory: RunDirectory, fake: Fake) -> None:
    command = [sys.executable, "-c", LAUNCH_AND_WAIT, str(directory.path), "foreground"]
    processes = [
        subprocess.Popen([*command, *fake("hang")], stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    wait_for(lambda: sum(process.poll() is None for process in processes) == 1)
    (loser,) = [process for process in processes if process.poll() is not None]
    (winner,) = [process for process in processes if process is not loser]
    assert loser.stderr is not None
    assert "already running" in loser.stderr.read()
    wait_for_ranks(directory)
    winner.kill()
    winner.communicate()
    loser.communicate()
    wait_for(lambda: is_over(directory))
    assert directory.read_record().attempt == 1


def test_ranks_of_a_killed_supervisor_save_and_leave_and_the_run_is_lost(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    launched = end(launch(directory, Topology(), foreground=False, program=fake("slow")))
    wait_for_ranks(directory)
    directory.update_record(state="running")
    launched.process.kill()
    launched.process.wait()
    # The rank is still busy saving: nobody else may start on the directory now.
    assert directory.effective_state() == "running"
    assert is_held(directory.lease_path)
    wait_for(lambda: is_over(directory))
    assert directory.effective_state() == "lost"
    assert directory.outcome_path(1, 0).exists()
    again = end(launch(directory, Topology(), foreground=False, program=fake("done")))
    assert again.process.wait(timeout=20) == 0
    assert directory.read_record().attempt == 2


def test_watchers_never_see_how_an_earlier_attempt_ended_once_a_new_one_starts(
    directory: RunDirectory, fake: Fake, end: End
) -> None:
    assert (
        end(launch(directory, Topology(), foreground=False, program=fake("fail"))).process.wait() == 71
    )
    launched = end(launch(directory, Topology(), foreground=False, program=fake("hang")))
    assert directory.effective_state() == "preparing"
    wait_for(lambda: directory.read_record().attempt == 2)
    record = directory.read_record()
    assert (record.exit_code, record.error) == (None, None)
    wait_for_ranks(directory)
    launched.process.terminate()
    launched.process.wait()


def test_the_supervisor_ignores_libraries_that_lie_where_stoker_is_called(
    directory: RunDirectory,
    fake: Fake,
    end: End,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken for the library')")
    monkeypatch.chdir(tmp_path)
    assert end(launch(directory, Topology(), foreground=False, program=fake("done"))).process.wait() == 0
