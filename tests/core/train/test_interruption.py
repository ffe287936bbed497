"""Stopping a real run: it saves, says 75, and goes on later as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from stoker.checkpoint.finding import newest_valid
from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.heartbeat import read_beat
from stoker.run.outcome import read_outcomes
from stoker.testing import tiny_recipe

STOKER = [sys.executable, "-m", "stoker"]
STEPS = 200
SETTINGS = ["--set", f"train.steps={STEPS}", "--set", "train.schedule=constant"]
ENDLESS = ["--set", "train.steps=1000000"]
"""For runs that are stopped: a fast machine must not be done before."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interruption")
    tiny_recipe(folder)
    return folder


def start(folder: Path, name: str, *options: str) -> subprocess.Popen[str]:
    command = [*STOKER, "run", "tiny.toml", "--plain", "--set", f"run.name={name}", *SETTINGS, *options]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def output_of(process: subprocess.Popen[str], timeout: float = 120) -> str:
    """What it printed, once it has ended; it and its ranks are ended when it takes too long."""
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
        process.kill()
        pytest.fail(f"still there after {timeout:g} s:\n{process.communicate()[0]}")


def directory(folder: Path, name: str) -> RunDirectory:
    return RunDirectory(folder / "runs" / name)


def events(folder: Path, name: str, kind: str) -> list[dict[str, Any]]:
    found = read_events(directory(folder, name).events_path)
    return [event for event in found if event["kind"] == kind]


def wait_for_step(folder: Path, name: str, step: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if directory(folder, name).events_path.exists() and len(events(folder, name, "step")) >= step:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} did not reach step {step}")


def committed_steps(folder: Path, name: str) -> list[int]:
    return [e["step"] for e in events(folder, name, "checkpoint") if e["phase"] == "committed"]


def losses_by_step(folder: Path, name: str) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events(folder, name, "step")}


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> dict[int, float]:
    process = start(folder, "whole")
    output = output_of(process)
    assert process.returncode == 0, output
    return losses_by_step(folder, "whole")


@pytest.mark.parametrize(("number", "ranks"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_signal_saves_exits_75_and_the_same_command_goes_on(
    folder: Path, uninterrupted: dict[int, float], number: signal.Signals, ranks: int
) -> None:
    name = f"{number.name.lower()}-{ranks}"
    process = start(folder, name, "--nproc", str(ranks))
    wait_for_step(folder, name, 5)
    process.send_signal(number)
    output = output_of(process, 60)
    assert process.returncode == ExitCode.STOPPED, output
    record = directory(folder, name).read_record()
    assert (record.state, record.exit_code) == ("stopped", 75)
    stopped_at = record.step
    assert 5 <= stopped_at < STEPS
    assert (directory(folder, name).path / record.result / "manifest.json").is_file()
    # Half a run is graded too, but for what all of it costs.
    grade = json.loads(directory(folder, name).plan_path.read_text())["grade"]
    assert grade["attempt"] == 1
    assert "resident_bytes" in grade["measured"]
    assert "cost_usd" not in grade["measured"]

    second = start(folder, name, "--nproc", str(ranks))
    output = output_of(second)
    assert second.returncode == 0, output
    assert events(folder, name, "resume")[0]["step"] == stopped_at
    found = losses_by_step(folder, name)
    assert found == pytest.approx(uninterrupted, rel=0 if ranks == 1 else 1e-5)


def test_stop_and_checkpoint_requests_are_heard(folder: Path) -> None:
    process = start(folder, "asked", *ENDLESS)
    wait_for_step(folder, "asked", 3)
    process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 60
    while not committed_steps(folder, "asked"):
        assert time.monotonic() < deadline, "SIGUSR1 was not heard"
        time.sleep(0.05)
    by_signal = committed_steps(folder, "asked")
    subprocess.run([*STOKER, "checkpoint", "asked"], cwd=folder, check=True, capture_output=True)
    subprocess.run([*STOKER, "stop", "asked"], cwd=folder, check=True, capture_output=True)
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED
    assert len(committed_steps(folder, "asked")) > len(by_signal)


def test_a_detached_run_outlives_the_session_that_started_it(folder: Path) -> None:
    command = [
        *STOKER,
        "run",
        "tiny.toml",
        "--detach",
        "--json",
        "--set",
        "run.name=detached",
        *SETTINGS,
    ]
    # A session of its own, killed as a closing terminal would: every process of it gets a SIGHUP.
    launcher = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    output, _ = launcher.communicate(timeout=60)
    assert json.loads(output)["name"] == "detached"
    # Nothing of that session may be left, which is as it should be.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(launcher.pid, signal.SIGHUP)
    watch = [*STOKER, "watch", "detached", "--plain"]
    watched = subprocess.run(watch, cwd=folder, capture_output=True, text=True, timeout=120)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert directory(folder, "detached").read_record().state == "done"


def test_a_foreground_that_is_killed_takes_the_run_along_saved(folder: Path) -> None:
    process = start(folder, "orphan", *ENDLESS)
    wait_for_step(folder, "orphan", 3)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while directory(folder, "orphan").read_record().state in ("preparing", "running", "saving"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    record = directory(folder, "orphan").read_record()
    assert (record.state, record.exit_code) == ("stopped", 75)
    assert record.result is not None


def test_a_run_that_fails_names_the_first_failing_rank_and_its_error(folder: Path) -> None:
    process = start(
        folder, "failing", "--nproc", "2", "--set", 'plugins.freeze={patterns=["nothing.*"]}'
    )
    output = output_of(process, 60)
    assert process.returncode == ExitCode.USAGE, output
    assert "no parameter matches 'nothing.*'" in output
    assert "Traceback" not in output
    assert directory(folder, "failing").read_record().error["rank"] in (0, 1)


def test_a_signal_to_one_rank_before_the_ranks_have_met_ends_all_of_them_soon(folder: Path) -> None:
    """In a process group's creation a rank hears no signal; nobody must wait there for one that left."""
    process = start(folder, "early", "--nproc", "2")
    deadline = time.monotonic() + 60
    while not (ranks := ranks_of(directory(folder, "early").path)) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(ranks[-1], signal.SIGTERM)
    output = output_of(process, 60)
    assert process.returncode == ExitCode.STOPPED, output
    assert directory(folder, "early").read_record().state == "stopped"


PHASES = ("start-up", "training", "evaluation", "saving")
TARGETS = ("rank", "launcher", "group")
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")
FEW = [
    ("start-up", "group", "SIGHUP"),
    ("training", "rank", "SIGINT"),
    ("evaluation", "launcher", "SIGHUP"),
    ("saving", "group", "SIGINT"),
]
"""Every phase, target and signal; with the tests above also the others' most likely pairs."""
BUSY = [*ENDLESS, "--set", "train.evaluate_every=1", "--set", 'checkpoint.every="1 step"']


def family(launcher: int) -> list[psutil.Process]:
    """`stoker run`, its supervisor and the ranks, in this order; waits for two ranks."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            supervisor = psutil.Process(launcher).children()[0]
            if len(ranks := supervisor.children()) == 2:
                return [psutil.Process(launcher), supervisor, *sorted(ranks, key=lambda each: each.pid)]
        time.sleep(0.005)
    raise AssertionError("the ranks were not started")


def wait_for_phase(folder: Path, name: str, phase: str) -> None:
    beat = directory(folder, name).attempt_path(1) / "rank-0.beat"
    words = {"training": "step", "evaluation": "evaluating", "saving": "saving"}[phase]
    deadline = time.monotonic() + 60
    wait_for_step(folder, name, 2)
    while not read_beat(beat).phase.startswith(words):
        assert time.monotonic() < deadline, f"never {phase}"
        time.sleep(0.0005)


def send_and_check(folder: Path, phase: str, target: str, number: signal.Signals) -> None:
    name = f"{phase}-{target}-{number.name.lower()}"
    process = start(folder, name, "--nproc", "2", *BUSY)
    people = family(process.pid)
    if phase != "start-up":
        wait_for_phase(folder, name, phase)
    chosen = {"rank": people[-1:], "launcher": people[:1], "group": people}[target]
    for each in chosen:
        each.send_signal(number)
    output = output_of(process, 90)
    assert process.returncode == ExitCode.STOPPED, output
    run = directory(folder, name)
    record, outcomes = run.read_record(), read_outcomes(run, 1)
    assert (record.state, record.exit_code) == ("stopped", 75)
    assert [(each.rank, each.exit_code, each.step) for each in outcomes] == [
        (rank, 75, record.step) for rank in (0, 1)
    ]
    newest, passed_over = newest_valid(run.checkpoints_path)
    assert passed_over == []
    assert (newest.step if newest else 0) == record.step
    assert not any(each.is_running() for each in people[1:])


@pytest.mark.parametrize(("phase", "target", "number"), FEW)
def test_a_signal_to_anyone_in_any_phase_saves_the_same_step_on_all_ranks_and_ends_in_75(
    folder: Path, phase: str, target: str, number: str
) -> None:
    send_and_check(folder, phase, target, signal.Signals[number])


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("phase", PHASES)
def test_every_signal_to_everyone_in_every_phase_does_so(
    folder: Path, phase: str, target: str, number: str
) -> None:
    send_and_check(folder, phase, target, signal.Signals[number])


def test_a_rank_that_is_stopped_is_found_and_a_restart_goes_on_from_the_newest_checkpoint(
    folder: Path, uninterrupted: dict[int, float]
) -> None:
    limits = ["--set", "launch.hang_seconds=3", "--set", "launch.max_restarts=1"]
    process = start(folder, "hung", "--nproc", "2", *limits, "--set", 'checkpoint.every="5 steps"')
    *_, victim = family(process.pid)
    wait_for_step(folder, "hung", 8)
    victim.send_signal(signal.SIGSTOP)
    output = output_of(process)
    assert process.returncode == 0, output
    hang, restart = events(folder, "hung", "alert")[:2]
    assert hang["phase"].startswith(("step", "saving"))
    assert "it is stopped (SIGSTOP)" in hang["message"]
    assert restart["restart"] == 1
    assert "hangs" in output
    assert "restart 1 of 1 in 5 s" in output
    assert events(folder, "hung", "resume")[0]["step"] >= 5
    assert losses_by_step(folder, "hung") == pytest.approx(uninterrupted, rel=1e-5)


def ranks_of(run: Path) -> list[int]:
    """Process ids of the ranks of a run, once both of them have come as far as to hear signals."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "stoker.train.worker" in command and str(run) in " ".join(command):
            found.append(process)
    ready = len(found) == 2 and all(hears_signals(process) for process in found)
    return sorted(process.pid for process in found) if ready else []


def hears_signals(process: psutil.Process) -> bool:
    """Whether the process has a handler for SIGTERM, by /proc."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
