"""One process, two of ours, torchrun's, accelerate's, two nodes: the same losses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.testing import tiny_recipe

STOKER = [sys.executable, "-m", "stoker"]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launchers")
    tiny_recipe(folder)
    return folder


def run(folder: Path, command: list[str], name: str, *options: str, wait: bool = True) -> object:
    """Start `command` with a run of that name; returns the process, ended if `wait`."""
    arguments = ["run", str(folder / "tiny.toml"), "--set", f"run.name={name}", "--set", "train.steps=6"]
    environment = {key: value for key, value in os.environ.items() if key != "WORLD_SIZE"}
    process = subprocess.Popen(
        [*command, *arguments, *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if wait:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    return process


def planned_ranks(folder: Path, name: str) -> int:
    """Of the plan that a run keeps, which is graded by then."""
    plan = json.loads(RunDirectory(folder / "runs" / name).plan_path.read_text())
    assert "resident_bytes" in plan["grade"]["measured"]
    ranks: int = plan["made_for"]["ranks"]
    return ranks


def losses(folder: Path, name: str) -> list[float]:
    events = read_events(RunDirectory(folder / "runs" / name).events_path)
    assert RunDirectory(folder / "runs" / name).read_record().state == "done"
    return [event["loss"] for event in events if event["kind"] == "step"] + [
        event["eval_loss"] for event in events if event["kind"] == "evaluate"
    ]


@pytest.fixture(scope="module")
def reference(folder: Path) -> list[float]:
    run(folder, STOKER, "alone")
    return losses(folder, "alone")


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def test_two_ranks_give_the_losses_of_one(folder: Path, reference: list[float]) -> None:
    run(folder, STOKER, "two", "--nproc", "2")
    assert RunDirectory(folder / "runs" / "two").read_record().nproc == 2
    assert losses(folder, "two") == pytest.approx(reference, rel=1e-6)
    assert planned_ranks(folder, "two") == 2


def test_torchrun_gives_them(folder: Path, reference: list[float]) -> None:
    torchrun = [str(BIN / "torchrun"), "--nproc_per_node", "2", "--master_port", str(free_port())]
    run(folder, [*torchrun, "-m", "stoker"], "torchrun")
    assert RunDirectory(folder / "runs" / "torchrun").read_record().nproc == 2
    assert losses(folder, "torchrun") == pytest.approx(reference, rel=1e-6)
    assert planned_ranks(folder, "torchrun") == 2


def test_accelerate_launch_gives_them(folder: Path, reference: list[float]) -> None:
    """`--multi_gpu` is how accelerate is told to start several processes, on a CPU too."""
    accelerate = [str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    accelerate += ["--main_process_port", str(free_port())]
    run(folder, [*accelerate, "-m", "stoker"], "accelerate")
    assert RunDirectory(folder / "runs" / "accelerate").read_record().nproc == 2
    assert losses(folder, "accelerate") == pytest.approx(reference, rel=1e-6)


def test_two_nodes_on_loopback_give_them(folder: Path, reference: list[float]) -> None:
    options = ["--nnodes", "2", "--rendezvous", f"127.0.0.1:{free_port()}"]
    first = run(folder, STOKER, "nodes", *options, "--node-rank", "0", wait=False)
    run(folder, STOKER, "nodes", *options, "--node-rank", "1")
    assert isinstance(first, subprocess.Popen)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
    assert losses(folder, "nodes") == pytest.approx(reference, rel=1e-6)
    assert planned_ranks(folder, "nodes") == 2
    logs = folder / "runs" / "nodes" / "logs" / "attempt-1"
    assert {path.name for path in logs.glob("*.log")} == {"rank-0.log", "rank-1.log"}
