"""What a supervisor does with ranks that finish, fail, hang or are killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from stoker.errors import StorageError
from stoker.run import control
from stoker.run.attempt import take_over
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.interrupts import Interrupts
from stoker.run.lease import is_held
from stoker.run.ranks import RankProcess, Topology, held_signals, prepare_rank
from stoker.run.supervisor import supervise_node, supervise_run
from stoker.run.waiting import Patience

Fake = Callable[[str], list[str]]
Supervise = Callable[..., int]

YEAR = 365 * 86400.0
IMPATIENT = Patience(notice_seconds=0.8, terminate_seconds=0.5, leave_seconds=0.5, poll_seconds=0.02)


@pytest.fixture
def supervise(directory: RunDirectory, fake: Fake) -> Supervise:
    """Run an attempt of ranks that behave as told, to its end."""

    def run(behaviours: str, interrupts: Interrupts | None = None) -> int:
        lease = take_over(directory)
        try:
            return supervise_run(
                directory,
                Topology(nproc=behaviours.count(",") + 1),
                lease,
                interrupts or Interrupts(directory),
                command=fake(behaviours),
                patience=IMPATIENT,
            )
        finally:
            lease.release()

    return run


def test_a_run_whose_ranks_are_done_is_done(supervise: Supervise, directory: RunDirectory) -> None:
    assert supervise("done,done") == 0
    record = directory.read_record()
    assert (record.state, record.exit_code, record.error, record.step) == ("done", 0, None, 3)
    assert (record.attempt, record.nproc) == (1, 2)
    assert directory.log_path(1, 1).read_text() == "rank 1\n"
    assert not is_held(directory.lease_path)


def test_when_lines_came_is_noted_to_the_last(supervise: Supervise, directory: RunDirectory) -> None:
    supervise("done,done")
    notes = read_events(directory.attempt_path(1) / "arrivals.jsonl")
    sizes: dict[str, int] = {}
    for note in notes:
        sizes |= note["bytes"]
    assert sizes == {str(rank): directory.log_path(1, rank).stat().st_size for rank in (0, 1)}


def test_the_first_and_the_last_event_are_the_supervisors(
    supervise: Supervise, directory: RunDirectory
) -> None:
    supervise("done")
    supervise("fail")
    states = [(event["attempt"], event["state"]) for event in read_events(directory.events_path)]
    assert states == [(1, "preparing"), (1, "done"), (2, "preparing"), (2, "failed")]


def test_the_first_failing_ranks_error_is_shown_not_the_one_it_caused(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("fail-late,fail") == 71
    error = directory.read_record().error
    assert error is not None
    assert (error["rank"], error["exit_code"]) == (1, 71)
    assert error["message"] == "the loss is not finite."
    assert error["hint"] == "Lower the learning rate."
    assert error["log"] == "logs/attempt-1/rank-1.log"


def test_a_killed_rank_is_the_cause_and_its_end_is_explained(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("fail-late,killed") == 1
    error = directory.read_record().error
    assert error is not None
    assert error["rank"] == 1
    assert "SIGKILL" in error["message"]
    assert "memory" in error["hint"]
    assert error["tail"] == ["rank 1"]


def test_a_rank_that_wrote_no_outcome_is_shown_by_the_end_of_its_log(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("bug") == 1
    error = directory.read_record().error
    assert error is not None
    assert error["tail"][-1] == "ValueError: a bug of the third kind"


def test_a_rank_that_leaves_without_a_word_did_not_finish(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("silent") == 1
    assert directory.read_record().state == "failed"


def test_ranks_that_wait_for_a_failed_one_are_told_and_then_ended(
    supervise: Supervise, directory: RunDirectory
) -> None:
    started = time.monotonic()
    assert supervise("fail,hang,stubborn") == 71
    assert time.monotonic() - started < 20
    assert directory.read_record().state == "failed"
    assert directory.outcome_path(1, 1).exists()
    assert not directory.outcome_path(1, 2).exists()


def test_a_rank_that_was_stopped_alone_takes_the_others_with_it(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("left,hang") == 75
    assert directory.read_record().state == "stopped"


def test_a_rank_that_cannot_follow_one_that_left_is_ended(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("left,stubborn") == 76
    assert directory.read_record().state == "stopped"


def test_a_rank_that_leaves_at_once_takes_the_others_with_it(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("exit-76,hang") == 76
    assert supervise("exit-76,stubborn") == 76
    record = directory.read_record()
    assert (record.state, record.exit_code, record.error) == ("stopped", 76, None)


def test_a_failure_before_a_rank_left_at_once_stays_the_cause(
    supervise: Supervise, directory: RunDirectory
) -> None:
    assert supervise("fail,told-76") == 71
    assert directory.read_record().state == "failed"


@pytest.mark.parametrize("behaviours", ["fail-late,fail", "fail,fail-late"])
def test_clocks_that_are_set_meanwhile_change_nothing(
    supervise: Supervise,
    directory: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    behaviours: str,
) -> None:
    # Each rank has a wall clock years from the other's, the supervisor's jumps at every look.
    monkeypatch.setenv("FAKE_CLOCKS", "1")
    jumps = itertools.cycle((0, 10 * YEAR, -10 * YEAR, 3600.0, -3600.0))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    assert supervise(behaviours) == 71
    timer = threading.Timer(0.5, lambda: control.request(directory, "stop"))
    timer.start()
    assert supervise("hang") == 75
    timer.join()


class ForkedProcess:
    """A rank that is no new program: what `supervise_run` needs of its process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        if self._exit_code is None and os.waitpid(self.pid, os.WNOHANG) != (0, 0):
            self._exit_code = 75
        return self._exit_code

    def wait(self) -> int:
        raise AssertionError("nobody waits without a limit")

    def send_signal(self, sig: int, /) -> None:
        os.kill(self.pid, sig)


def test_ranks_may_be_started_otherwise_than_as_new_programs(directory: RunDirectory) -> None:
    started: list[int] = []

    def start(
        rank: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        keep_open: Sequence[int] = (),
    ) -> RankProcess:
        with held_signals():
            pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            prepare_rank(os.getppid())
            signal.sigwait([signal.SIGTERM])
            os._exit(0)
        started.append(rank)
        # The lease is open in the fork, too.
        assert len(keep_open) == 1
        return RankProcess(rank, ForkedProcess(pid), log_path)

    lease, interrupts = take_over(directory), Interrupts(directory)
    interrupts.wanted, interrupts.number = True, signal.SIGTERM
    code = supervise_run(
        directory, Topology(nproc=2), lease, interrupts, patience=IMPATIENT, start=start
    )
    lease.release()
    assert (code, started) == (75, [0, 1])


def test_a_preempted_run_says_so(supervise: Supervise, directory: RunDirectory) -> None:
    assert supervise("preempted") == 75
    assert directory.read_record().state == "preempted"


def test_a_stop_during_start_up_is_no_failure(supervise: Supervise, directory: RunDirectory) -> None:
    interrupts = Interrupts(directory)
    interrupts.wanted = True
    # The rank is still starting and dies from the signal: no failure, there is nothing to save yet.
    assert supervise("hang,hang", interrupts) == 75
    assert directory.read_record().state == "stopped"


def test_a_request_to_stop_that_no_rank_reads_is_passed_on(
    supervise: Supervise, directory: RunDirectory, fake: Fake
) -> None:
    timer = threading.Timer(0.5, lambda: control.request(directory, "stop"))
    timer.start()
    assert supervise("hang") == 75
    timer.join()


def test_requests_to_an_earlier_attempt_are_dropped(
    supervise: Supervise, directory: RunDirectory
) -> None:
    control.request(directory, "stop")
    assert supervise("done") == 0
    assert control.pending(directory) == []


def test_the_next_attempt_has_its_own_number_logs_and_store(
    supervise: Supervise, directory: RunDirectory
) -> None:
    supervise("fail")
    assert supervise("environment") == 0
    record = directory.read_record()
    assert (record.attempt, record.state, record.error) == (2, "done", None)
    environment = json.loads(directory.log_path(2, 0).read_text())
    assert environment["STOKER_ATTEMPT"] == "2"
    assert environment["STOKER_STORE"] == str(directory.store_path(2))
    assert directory.store_path(2).parent.is_dir()


def test_ranks_of_one_node_know_their_place_and_stay_on_loopback(
    supervise: Supervise, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "7"), ("MASTER_PORT", "1"), ("STOKER_LOCK", "/x")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert supervise("environment,environment") == 0
    environment = json.loads(directory.log_path(1, 1).read_text())
    place = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    assert [environment[name] for name in place] == ["1", "1", "2", "2"]
    assert environment["GLOO_SOCKET_IFNAME"].startswith("lo")
    assert int(environment["OMP_NUM_THREADS"]) == max(1, len(os.sched_getaffinity(0)) // 2)
    assert not environment.keys() & {"MASTER_ADDR", "MASTER_PORT", "STOKER_LOCK"}


def test_a_node_without_the_run_directory_shows_why_its_rank_failed(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = Topology(nproc=1, nodes=2, node_rank=1, rendezvous="127.0.0.1:29500")
    code = supervise_node(topology, Interrupts(), command=fake("done,bug"), patience=IMPATIENT)
    assert code == 1
    assert "a bug of the third kind" in capsys.readouterr().err


def test_a_node_without_the_run_directory_ends_as_its_ranks_do(fake: Fake, tmp_path: Path) -> None:
    topology = Topology(nproc=2, nodes=2, node_rank=1, rendezvous="127.0.0.1:29500")
    assert supervise_node(topology, Interrupts(), command=fake("done"), patience=IMPATIENT) == 0
    assert supervise_node(topology, Interrupts(), command=fake("left"), patience=IMPATIENT) == 75


def test_where_the_end_cannot_be_written_the_exit_code_still_tells(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a disk that is full to the last byte."""

    def full(*given: object, **more: object) -> None:
        raise StorageError("run.json cannot be written: No space left on device.")

    monkeypatch.setattr("stoker.run.supervisor.end_attempt", full)
    assert supervise("fail") == 71
    assert "No space left on device" in capsys.readouterr().err
