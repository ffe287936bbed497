"""A rank without a model: `python fake_rank.py BEHAVIOUR,BEHAVIOUR RUN_DIRECTORY`, one for each rank."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from stoker.run.directory import RunDirectory
from stoker.run.outcome import write_outcome

behaviours, place = sys.argv[1].split(","), sys.argv[2]
rank, attempt = int(os.environ["RANK"]), int(os.environ["STOKER_ATTEMPT"])
behaviour = behaviours[rank % len(behaviours)]
directory = RunDirectory(Path(place)) if place != "-" else None
stopped = False


def on_stop(number: int, frame: object) -> None:
    global stopped
    stopped = True


def leave(code: int, **fields: object) -> None:
    if directory is not None:
        write_outcome(directory, attempt, rank, code, **fields)  # type: ignore[arg-type]
    sys.exit(code)


signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stubborn" else on_stop)
print(json.dumps(dict(os.environ)) if behaviour == "environment" else f"rank {rank}", flush=True)
if directory is not None:
    (directory.path / f"ready-{rank}").touch()

if behaviour in ("done", "environment"):
    leave(0, step=3)
if behaviour == "preempted":
    leave(75, step=2, preempted=True)
if behaviour == "left":
    # A rank that still starts would die of the SIGTERM that follows, whatever its behaviour.
    while directory is not None and len(list(directory.path.glob("ready-*"))) < len(behaviours):
        time.sleep(0.02)
    leave(75, step=2)
if behaviour == "fail":
    leave(71, message="the loss is not finite.", hint="Lower the learning rate.")
if behaviour == "fail-late":
    time.sleep(0.3)
    leave(1, message="the connection was closed by a peer.")
if behaviour == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if behaviour == "bug":
    raise ValueError("a bug of the third kind")
if behaviour == "silent":
    os._exit(0)

# What is left waits: hang, until a SIGTERM; slow, a moment longer; stubborn, for ever.
deadline = time.monotonic() + 60
while not stopped and time.monotonic() < deadline:
    time.sleep(0.02)
if behaviour == "slow":
    time.sleep(3)
leave(75, step=2)
