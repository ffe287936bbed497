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

from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import tiny_recipe

STOKER = [sys.executable, "-m", "stoker"]
STEPS = 200
SETTINGS = ["--set", f"train.steps={STEPS}", "--set", "train.schedule=constant"]


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


def losses_by_step(folder: Path, name: str) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events(folder, name, "step")}


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> dict[int, float]:
    process = start(folder, "whole")
    output, _ = process.communicate(timeout=120)
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
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED, output
    record = directory(folder, name).read_record()
    assert (record.state, record.exit_code) == ("stopped", 75)
    stopped_at = record.step
    assert 5 <= stopped_at < STEPS
    assert (directory(folder, name).path / record.result / "manifest.json").is_file()

    second = start(folder, name, "--nproc", str(ranks))
    output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert events(folder, name, "resume")[0]["step"] == stopped_at
    found = losses_by_step(folder, name)
    assert found == pytest.approx(uninterrupted, rel=0 if ranks == 1 else 1e-5)


def test_stop_and_checkpoint_requests_are_heard(folder: Path) -> None:
    process = start(folder, "asked")
    wait_for_step(folder, "asked", 3)
    subprocess.run([*STOKER, "checkpoint", "asked"], cwd=folder, check=True, capture_output=True)
    subprocess.run([*STOKER, "stop", "asked"], cwd=folder, check=True, capture_output=True)
    process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED
    steps = [e["step"] for e in events(folder, "asked", "checkpoint") if e["phase"] == "committed"]
    assert len(steps) >= 1


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
    process = start(folder, "orphan")
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
    output, _ = process.communicate(timeout=60)
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
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED, output
    assert directory(folder, "early").read_record().state == "stopped"


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
