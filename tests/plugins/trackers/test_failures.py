"""Whatever a tracker does, training ends with its own exit code and its own losses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import ExitCode, NonFiniteError
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import tiny_fit, tiny_recipe
from stoker_plugins.trackers.config import TrackersConfig
from stoker_plugins.trackers.ending import Ending
from stoker_plugins.trackers.mirror import Mirror


@pytest.fixture
def dead_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_one_tracker_that_blocks_and_one_that_raises_cost_the_run_nothing(
    tmp_path: Path, dead_server: str
) -> None:
    table = {
        "use": ["mlflow", "tensorboard"],
        "directory": str(tmp_path / "files"),
        "timeout_seconds": 6.0,
        "drain_seconds": 100,
        "mlflow": {"tracking_uri": dead_server},
    }
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "tensorboard").write_text("a file where its folder should be")
    fit = tiny_fit(tmp_path, {"trackers": table})
    assert fit.outcome.exit_code == ExitCode.DONE
    alerts = {event["message"].split("'")[1]: event["message"] for event in fit.of_kind("alert")}
    assert len(fit.of_kind("alert")) == 2
    assert "no answer for 6 s" in alerts["mlflow"]
    assert "Error" in alerts["tensorboard"]
    assert all("is left out until the next attempt" in message for message in alerts.values())
    assert fit.losses == tiny_fit(tmp_path).losses


def running(folder: Path, program: str) -> tuple[Mirror, subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
    return Mirror(process, folder / "trackers.log"), process


class Raises(Plugin[PluginConfig]):
    @hookimpl
    def on_step_end(self, state: Any) -> None:
        raise NonFiniteError("the loss of step 1 is not finite")


def test_a_run_that_raises_tells_its_mirror_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    program = f"import sys; open({str(said)!r}, 'w').write(sys.stdin.read())"
    monkeypatch.setattr(Mirror, "start", lambda *arguments: running(tmp_path, program)[0])
    with pytest.raises(NonFiniteError):
        tiny_fit(tmp_path, {"trackers": {}, "raises": Raises(PluginConfig())})
    assert Ending.parse(said.read_bytes()) == Ending(71, preempted=False, seconds=3.0)


def test_a_mirror_that_dies_costs_one_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, process = running(tmp_path, "raise SystemExit(3)")
    process.wait()
    monkeypatch.setattr(Mirror, "start", lambda *arguments: mirror)
    fit = tiny_fit(tmp_path, {"trackers": {}})
    assert fit.outcome.exit_code == ExitCode.DONE
    (alert,) = fit.of_kind("alert")
    assert "'trackers' raised in on_log and is left out" in alert["message"]
    assert "ended with 3, see" in alert["message"]
    mirror.end(Ending(0), lambda phase: None)


def test_weights_and_biases_is_left_out_when_its_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stoker_plugins.trackers.backends import Naming, Wandb

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    tracker = Wandb(TrackersConfig(), Naming("run", "id", "project", tmp_path))
    with pytest.raises(OSError, match="No space left on device"):
        tracker.log({"train/loss": 1.0}, 1)


def test_a_mirror_that_ended_before_the_run_is_noticed(tmp_path: Path) -> None:
    mirror, process = running(tmp_path, "raise SystemExit(3)")
    process.wait()
    with pytest.raises(RuntimeError, match=r"ended with 3, see .*trackers\.log"):
        mirror.check()
    assert "ended with 3" in mirror.end(Ending(0), lambda phase: None)


def test_a_mirror_that_does_not_end_is_killed(tmp_path: Path) -> None:
    mirror, _ = running(tmp_path, "import time; time.sleep(60)")
    mirror.check()
    phases: list[str] = []
    started = time.monotonic()
    assert "ended with -9" in mirror.end(Ending(0, seconds=0.1), phases.append)
    assert time.monotonic() - started < 10
    assert set(phases) == {"mirroring the rest"}


def test_a_mirror_heeds_no_signal_and_ends_soon_after_its_rank_though_a_tracker_blocks(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = ['plugins.trackers.use=["mlflow"]', f"plugins.trackers.mlflow.tracking_uri={uri!r}"]
        recipe = tiny_recipe(tmp_path, settings)
        directory = RunDirectory.create(tmp_path / "runs", "tiny", recipe)
        config = TrackersConfig.model_validate(recipe.plugins["trackers"])
        mirror = Mirror.start(directory, 1, config)
        server.settimeout(60)
        connection, _ = server.accept()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(mirror.pid, number)
        mirror.check()
        started = time.monotonic()
        assert mirror.end(Ending(75, seconds=1.0), lambda phase: None) == ""
        assert 0.5 < time.monotonic() - started < 10
        connection.close()
    (alert,) = read_events(directory.events_path)
    assert alert["message"] == "tracker 'mlflow' has not been given everything: the time was over"


@pytest.mark.parametrize(
    ("exit_code", "preempted", "word", "seconds"),
    [
        (0, False, "done", 20.0),
        (75, False, "stopped", 20.0),
        (75, True, "preempted", 1.0),
        (76, False, "stopped", 3.0),
        (71, False, "failed", 3.0),
        (4, False, "over budget", 20.0),
    ],
)
def test_how_a_run_ended_decides_how_long_its_mirror_may_go_on(
    exit_code: int, preempted: bool, word: str, seconds: float
) -> None:
    ending = Ending.of(exit_code, preempted, drain_seconds=20.0)
    assert (ending.word, ending.seconds) == (word, seconds)
    assert Ending.parse(ending.to_line()) == ending


def test_a_rank_that_could_say_nothing_is_lost() -> None:
    assert Ending.parse(b"").word == "lost"
