"""`stoker torture` for real, a few faults of each kind; and faults of ours that it must notice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stoker.torture.report import Report, table

pytestmark = pytest.mark.timeout(900)
"""Importing torch is most of what a call costs, so each does what several tests look at."""

TORTURE = [sys.executable, "-m", "stoker", "torture"]
SABOTAGE = """
import json, os, random, sys, time
os.environ.update(OMP_NUM_THREADS="1", STOKER_CACHE=sys.argv[1] + "/cache", CUDA_VISIBLE_DEVICES="")
from pathlib import Path
from stoker.torture.forking import import_everything
from stoker.torture.kills import Storm
from stoker.torture.runs import Setup
import_everything(["default"])

def other_seed(rank):
    from stoker.train import loop, rng
    seed = rng.seed_micro_batch
    loop.seed_micro_batch = lambda s, step, index, device: seed(s + 1, step, index, device)

def begins_anew(rank):
    from stoker.train import build
    build.choose_checkpoint = lambda run: (None, [])

def commits_early(rank):
    from stoker.checkpoint import background
    from stoker.checkpoint.commit import Commit
    Commit.num_parts = lambda self: 99
    write = background.write_pieces
    if rank == 1:  # by chance rank 0 might not be the first
        background.write_pieces = lambda *given: (time.sleep(0.2), write(*given))

found = {}
for fault in (other_seed, begins_anew, commits_early):
    # Ranks are forks of this process: what is put into them stays there.
    folder = Path(sys.argv[1]) / fault.__name__
    storm = Storm(Setup(folder, "default"), random.Random(0), "kills")
    storm.prepare = fault
    found[fault.__name__] = storm.kills(4).problems
print(json.dumps(found))
"""


def torture(*options: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run([*TORTURE, "--json", *options], capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["reports"]


def test_under_every_engine_killed_runs_go_on_by_themselves_and_end_bitwise_equal() -> None:
    engines = ("fsdp", "zero-2", "lora")
    code, reports = torture("--kills", "5", *(f"--engine={engine}" for engine in engines))
    assert code == 0, [report["problems"] for report in reports]
    assert [report["engine"] for report in reports] == list(engines)
    for report in reports:
        no_kill_did_harm(report)


def no_kill_did_harm(report: dict[str, Any]) -> None:
    assert (report["mode"], report["faults"]) == ("kills", 5)
    assert report["runs"] >= 1
    assert (report["bad_picks"], report["by_hand"], report["unequal"]) == (0, 0, 0)


def test_under_the_default_engine_no_mode_finds_anything_wrong_with_stoker() -> None:
    code, reports = torture("--kills", "5", "--signals", "--disk-full", "--corrupt", "--nan", "--hang")
    assert code == 0, [report["problems"] for report in reports]
    modes = {report["mode"]: report for report in reports}
    assert set(modes) == {"kills", "signals", "disk-full", "corrupt", "nan", "hang"}
    no_kill_did_harm(modes["kills"])
    assert modes["corrupt"]["faults"] == 500
    assert modes["nan"]["faults"] == modes["nan"]["resumes"] == 4


@pytest.fixture(scope="module")
def sabotaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The problems that were found, by the fault that was put in."""
    program = [sys.executable, "-c", SABOTAGE, str(tmp_path_factory.mktemp("sabotage"))]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("fault", ["other_seed", "begins_anew", "commits_early"])
def test_a_fault_of_ours_is_noticed(sabotaged: dict[str, list[str]], fault: str) -> None:
    """Other random numbers, a resume that begins anew, a commit without rank 1's part."""
    assert sabotaged[fault]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_told_to_stop_it_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Neither a process nor a file, and no traceback; in a terminal Ctrl-C goes to the whole group."""
    process = subprocess.Popen(
        [*TORTURE, "--kills", "1000"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    deadline = time.monotonic() + 60
    log = "stoker-torture-*/default/kills/runs/killed-0/logs/attempt-*/rank-1.log"
    while not list(tmp_path.glob(log)) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1] == f"{number.name}: stopped. Nothing is left running."
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    assert mentioning(tmp_path) == []


def mentioning(folder: Path) -> list[str]:
    """Command lines and environments of processes with this folder in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            if str(folder).encode() in text and int(path.name) != os.getpid():
                found.append(text.decode(errors="replace"))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("engine", ["default", "fsdp", "zero-2", "lora"])
def test_25_kills_cost_nothing(engine: str) -> None:
    code, (report,) = torture("--kills", "25", "--engine", engine, "--seed", str(os.getpid()))
    assert code == 0, report["problems"]
    assert report["faults"] == 25


def test_the_table_says_what_went_wrong() -> None:
    good, bad = Report("kills", "default", 2, faults=5, runs=2), Report("nan", "fsdp", 2, faults=1)
    bad.blame("it went on")
    text = table([good, bad])
    assert text.splitlines()[0].split()[:3] == ["mode", "engine", "ranks"]
    assert "2/2" in text
    assert "FAILED nan fsdp: it went on" in text
    assert (good.ok, bad.ok) == (True, False)


def test_a_folder_that_is_there_already_is_not_touched(tmp_path: Path) -> None:
    done = subprocess.run([*TORTURE, "--folder", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Name a new folder" in done.stderr
