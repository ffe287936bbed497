"""Ranks whose supervisor has been killed, and that cannot hear that they should leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stoker.run.host import is_alive

PARENT = """
import os, subprocess, sys, time
environment = os.environ | {"STOKER_SUPERVISOR": str(os.getpid())}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=environment)
print(child.pid, flush=True)
time.sleep(60)
"""
RANK = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: None)
from stoker.run import orphans
from stoker.run.heartbeat import Heartbeat
orphans.START_SECONDS, orphans.TRAINING_SECONDS, orphans._SECONDS_BETWEEN_LOOKS = 0.6, 60.0, 0.05
orphans.leave_when_orphaned()
heartbeat, how = Heartbeat.from_environment(), sys.argv[1]
heartbeat.beat("step 1" if how == "trains" else "loading")
while True:
    time.sleep(0.1)
    if how == "works":
        heartbeat.beat("loading")
"""


def lives_after(how: str, folder: Path, seconds: float, *, killed: bool) -> bool:
    """Whether a rank is still there so long after its supervisor was killed, or would have been."""
    environment = os.environ | {"STOKER_HEARTBEAT": str(folder / "beat")}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, RANK, how], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        while not (folder / "beat").exists() or not (folder / "beat").read_text():
            time.sleep(0.02)
        if killed:
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + seconds
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        return is_alive(pid)
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_one_that_hangs_before_its_first_step_leaves(tmp_path: Path) -> None:
    assert not lives_after("hangs", tmp_path, 30.0, killed=True)


@pytest.mark.parametrize(("how", "killed"), [("works", True), ("trains", True), ("hangs", False)])
def test_one_that_works_or_trains_or_has_a_supervisor_does_not(
    tmp_path: Path, how: str, killed: bool
) -> None:
    """While it trains, a long step is no hang."""
    assert lives_after(how, tmp_path, 2.0, killed=killed)
