"""A run that is killed and goes on, as the three trackers have it afterwards, each read back."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from stoker.run.directory import RunDirectory
from stoker.run.events import latest_by_step
from stoker.testing import Fit, tiny_fit

STEPS = 20
SECRET = "a-token-that-nobody-may-see"
SETTINGS = [
    f"train.steps={STEPS}",
    "train.schedule=constant",
    "train.evaluate_every=5",
    "checkpoint.every='5 steps'",
    "checkpoint.asynchronous=false",
]
TABLE = {
    "use": ["tensorboard", "wandb", "mlflow"],
    "project": "proofs",
    "tags": ["tiny", "team=a"],
    "drain_seconds": 100,
    "mlflow": {"token": "env:STOKER_TEST_TOKEN"},
}
KILLED = """
import json, os, signal, sys, time
from pathlib import Path
import psutil
from stoker import Plugin, PluginConfig, hookimpl
from stoker.testing import tiny_fit

folder, table, settings = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])

class Killed(Plugin):
    @hookimpl
    def on_step_end(self, state):
        if state.step < 13:
            return
        paths = [state.run.directory.path / "trackers" / f"{name}.json" for name in table["use"]]
        while not all(path.exists() and '"step/0": 12' in path.read_text() for path in paths):
            time.sleep(0.05)
        processes = [each.pid for each in psutil.Process().children(recursive=True)]
        (folder / "processes.json").write_text(json.dumps(processes))
        os.kill(os.getpid(), signal.SIGKILL)

plugins = {"trackers": table, "memory": {}, "killed": Killed(PluginConfig())}
tiny_fit(folder, plugins, settings)
"""


class Mirrored(NamedTuple):
    fit: Fit
    home: Path
    processes: list[int]
    """What the rank had started when it was killed."""
    seconds_until_gone: float

    @property
    def folder(self) -> Path:
        return self.fit.directory.path / "trackers"

    def expected(self, field: str = "loss", kind: str = "step") -> dict[int, float]:
        return {step: event[field] for step, event in latest_by_step(self.fit.events, kind).items()}


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    folder = tmp_path_factory.mktemp("mirrored")
    home = folder / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("STOKER_TEST_TOKEN", SECRET)
        patch.delenv("PYTHONWARNINGS", raising=False)
        program = [sys.executable, "-c", KILLED, str(folder), json.dumps(TABLE), json.dumps(SETTINGS)]
        killed = subprocess.run(program, check=False, timeout=200)
        assert killed.returncode == -signal.SIGKILL
        started = time.monotonic()
        processes = json.loads((folder / "processes.json").read_text())
        while any(map(is_alive, processes)) and time.monotonic() - started < 30:
            time.sleep(0.05)
        seconds = time.monotonic() - started
        directory = RunDirectory(folder / "runs" / "tiny-1")
        fit = tiny_fit(folder, {"trackers": TABLE, "memory": {}}, SETTINGS, directory=directory)
    return Mirrored(fit, home, processes, seconds)


def test_what_the_plugin_starts_ends_with_a_rank_that_is_killed(mirrored: Mirrored) -> None:
    assert len(mirrored.processes) == 2  # the mirror, and the service of Weights & Biases
    assert not any(map(is_alive, mirrored.processes))
    assert mirrored.seconds_until_gone < 10


def test_the_run_went_on_from_a_step_that_was_mirrored_already(mirrored: Mirrored) -> None:
    steps = [event["step"] for event in mirrored.fit.of_kind("step")]
    assert (steps.count(11), steps.count(12), steps.count(10), max(steps)) == (2, 2, 1, STEPS)
    assert mirrored.fit.of_kind("alert") == []


def test_tensorboard_has_every_step_once(mirrored: Mirrored) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = mirrored.folder / "tensorboard" / "tiny-1"
    found = EventAccumulator(str(folder)).Reload()

    def curve(tag: str) -> dict[int, float]:
        scalars = found.Scalars(tag)
        assert len({each.step for each in scalars}) == len(scalars)
        return {each.step: each.value for each in scalars}

    assert curve("train/loss") == pytest.approx(mirrored.expected("loss"))
    assert curve("train/learning_rate") == pytest.approx(mirrored.expected("learning_rate"))
    assert curve("eval/loss") == pytest.approx(mirrored.expected("eval_loss", "evaluate"))
    assert set(curve("checkpoint/committed_bytes")) == {0, 5, 10, 15, 20}
    assert set(curve("memory/weights")) == {2}
    assert len(list(folder.glob("*/hparams.yml"))) == 1
    endings = [each.tensor_proto.string_val[0] for each in found.Tensors("outcome/text_summary")]
    assert endings == [b"lost", b"done"]


def test_mlflow_has_every_step_once_in_one_run(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient((mirrored.folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("proofs")
    (run,) = client.search_runs([experiment.experiment_id])

    def curve(name: str) -> dict[int, float]:
        history = client.get_metric_history(run.info.run_id, name)
        assert len({each.step for each in history}) == len(history)
        return {each.step: each.value for each in history}

    assert curve("train/loss") == pytest.approx(mirrored.expected("loss"))
    assert curve("train/tokens") == mirrored.expected("tokens")
    assert curve("eval/loss") == pytest.approx(mirrored.expected("eval_loss", "evaluate"))
    assert set(curve("memory/weights")) == {2}
    assert (run.info.run_name, run.info.status) == ("tiny-1", "FINISHED")
    assert run.data.params["train.steps"] == str(STEPS)
    assert run.data.params["plugins.trackers.mlflow.token"] == "env:STOKER_TEST_TOKEN"
    assert {"tiny": "true", "team": "a", "outcome": "done"}.items() <= run.data.tags.items()
    # Not those of the folder that stoker lies in.
    assert not [name for name in run.data.tags if "git" in name]


def test_weights_and_biases_has_every_step_once_under_one_id(mirrored: Mirrored) -> None:
    files = sorted((mirrored.folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2  # one for each attempt
    records = [list(wandb_records(file)) for file in files]
    run_id = mirrored.fit.directory.read_record().id
    runs = [record.run for each in records for record in each if record.HasField("run")]
    assert {(run.run_id, run.project, run.display_name) for run in runs} == {
        (run_id, "proofs", "tiny-1")
    }
    assert set(runs[0].tags) == {"tiny", "team=a"}
    rows = [row for each in records for row in wandb_rows(each)]
    assert [row["_step"] for row in rows] == sorted(row["_step"] for row in rows)

    def curve(name: str) -> dict[int, float]:
        found = [(row["_step"], row[name]) for row in rows if name in row]
        assert len(dict(found)) == len(found)
        return dict(found)

    assert curve("train/loss") == pytest.approx(mirrored.expected("loss"))
    assert curve("eval/loss") == pytest.approx(mirrored.expected("eval_loss", "evaluate"))
    assert set(curve("memory/weights")) == {2}
    updates = [item for record in records[0] for item in record.config.update]
    config = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates}
    assert config["train.steps"] == STEPS
    summary = [item for record in records[1] for item in record.summary.update]
    assert {item.key: json.loads(item.value_json) for item in summary}["outcome"] == "done"


def test_a_secret_is_in_no_file_and_nobody_else_may_read_them(mirrored: Mirrored) -> None:
    files = [path for path in mirrored.folder.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert not [path for path in files if path.stat().st_mode & 0o077]
    assert mirrored.folder.stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_in_the_home_directory(mirrored: Mirrored) -> None:
    assert list(mirrored.home.rglob("*")) == []


def wandb_rows(records: list[Any]) -> Iterator[dict[str, Any]]:
    for record in records:
        if record.HasField("history"):
            items = record.history.item
            yield {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def wandb_records(path: Path) -> Iterator[Any]:
    """Records of a `.wandb` file: LevelDB's log format behind a header of seven bytes.

    The library itself reads these files in its service process only. Blocks of 32 KiB hold chunks: CRC,
    length, and whether it is a whole record (1), or its first (2), a middle (3) or its last part (4).
    """
    from wandb.proto import wandb_internal_pb2

    content, position, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while position + 7 <= len(content):
        if 2**15 - position % 2**15 < 7:
            position += 2**15 - position % 2**15
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record
