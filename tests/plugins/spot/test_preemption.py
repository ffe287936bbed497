"""Whole runs that are preempted: saved, left with the right code, and gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import tiny_fit, tiny_recipe
from stoker_plugins.spot import Spot, SpotConfig

STEPS = 100
CONSTANT = [f"train.steps={STEPS}", "train.schedule=constant"]


class Announce(Plugin[PluginConfig]):
    """Makes the notice appear at the end of the third step."""

    def __init__(self, announce: Callable[[], object]) -> None:
        super().__init__(PluginConfig())
        self.announce = announce

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        if state.step == 3:
            self.announce()


def from_file(path: Path, **options: Any) -> Spot:
    return Spot(SpotConfig(provider="file", notice_file=path, poll_seconds=0.02, **options))


def preemptions(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {event["phase"]: event for event in events if event["kind"] == "preemption"}


def test_a_run_saves_leaves_with_75_and_goes_on_where_it_left(tmp_path: Path, spot_threads: Any) -> None:
    path = tmp_path / "leave"
    content = json.dumps({"reason": "the rack is moved", "seconds_left": 60})
    plugins = {"spot": from_file(path), "announce": Announce(lambda: path.write_text(content))}
    left = tiny_fit(tmp_path, plugins, CONSTANT)
    assert (left.outcome.exit_code, left.outcome.preempted) == (ExitCode.STOPPED, True)
    assert left.outcome.message == "the rack is moved"
    assert 3 <= left.outcome.step < STEPS
    found = preemptions(left.events)
    assert found["notice"]["provider"] == "file"
    assert 50 < found["notice"]["seconds_left"] <= 60
    assert found["saved"]["step"] == left.outcome.step
    assert spot_threads() == []

    path.unlink()
    whole = tiny_fit(tmp_path, {"spot": from_file(path)}, CONSTANT, directory=left.directory)
    assert whole.outcome.exit_code == ExitCode.DONE
    assert whole.of_kind("resume")[-1]["step"] == left.outcome.step
    assert [event["step"] for event in whole.of_kind("step")] == list(range(1, STEPS + 1))


def test_too_little_time_for_a_checkpoint_leaves_at_once_with_76(tmp_path: Path) -> None:
    path = tmp_path / "leave"
    plugins = {"spot": from_file(path, grace_seconds=0), "announce": Announce(path.touch)}
    left = tiny_fit(tmp_path, plugins, CONSTANT)
    assert (left.outcome.exit_code, left.outcome.preempted) == (ExitCode.LEFT, True)
    assert "left" in preemptions(left.events)


def test_a_hint_makes_a_checkpoint_and_ends_nothing(tmp_path: Path, service: Any) -> None:
    announced = threading.Event()

    def answer(request: Any) -> tuple[int, str]:
        if request.path == "/latest/api/token":
            return 200, "token"
        if request.path.endswith("/rebalance") and announced.is_set():
            return 200, json.dumps({"noticeTime": "2026-01-01T00:00:00Z"})
        return 404, ""

    service.answer = answer
    spot = Spot(SpotConfig(provider="aws", endpoint=service.url, poll_seconds=0.05))
    fit = tiny_fit(tmp_path, {"spot": spot, "announce": Announce(announced.set)}, CONSTANT)
    assert fit.outcome.exit_code == ExitCode.DONE
    assert preemptions(fit.events)["notice"]["leave"] is False
    committed = [e["step"] for e in fit.of_kind("checkpoint") if e["phase"] == "committed"]
    assert len(committed) == 3, "before the first step, at the hint, at the end"


def test_the_same_command_goes_on_with_a_preempted_run(tmp_path: Path) -> None:
    """Two ranks, of which one looks."""
    tiny_recipe(tmp_path)
    notice, directory = tmp_path / "leave", RunDirectory(tmp_path / "runs" / "tiny")
    table = f'plugins.spot={{provider="file", notice_file="{notice}", poll_seconds=0.05}}'
    settings = [part for setting in [*CONSTANT, table] for part in ("--set", setting)]
    command = [sys.executable, "-m", "stoker", "run", "tiny.toml", "--plain", "--nproc", "2", *settings]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not any(event["kind"] == "step" for event in read_events(directory.events_path)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    notice.touch()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.STOPPED, output
    record = directory.read_record()
    assert (record.state, record.exit_code) == ("preempted", 75)
    assert record.step < STEPS
    assert preemptions(read_events(directory.events_path))["saved"]["step"] == record.step

    notice.unlink()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stdout + again.stderr
    resumed = [e for e in read_events(directory.events_path) if e["kind"] == "resume"]
    assert resumed[-1]["step"] == record.step
    assert directory.read_record().step == STEPS
