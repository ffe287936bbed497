"""A rank without a model: `python fake_rank.py BEHAVIOUR,BEHAVIOUR RUN_DIRECTORY`, one for each rank."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from stoker.run.directory import RunDirectory
from stoker.run.heartbeat import Heartbeat
from stoker.run.outcome import write_outcome
from stoker.run.stacks import answer_stack_requests

behaviours, place = sys.argv[1].split(","), sys.argv[2]
rank, attempt = int(os.environ["RANK"]), int(os.environ["STOKER_ATTEMPT"])
behaviour = behaviours[rank % len(behaviours)]
directory = RunDirectory(Path(place)) if place != "-" else None
stopped = False


if os.environ.get("FAKE_CLOCKS"):
    clock = time.time
    time.time = lambda: clock() + (1 - 2 * rank) * 10 * 365 * 86400


def on_stop(number: int, frame: object) -> None:
    global stopped
    stopped = True
    if directory is not None:
        (directory.path / f"got-{rank}-{signal.Signals(number).name}").touch()


def leave(code: int, **fields: object) -> None:
    if directory is not None:
        write_outcome(directory, attempt, rank, code, **fields)  # type: ignore[arg-type]
    sys.exit(code)


def on_checkpoint(number: int, frame: object) -> None:
    assert directory is not None
    (directory.path / f"saved-{rank}").touch()


def meet() -> None:
    """Wait until all ranks are as far: some start slowly."""
    while directory is not None and len(list(directory.path.glob("ready-*"))) < len(behaviours):
        time.sleep(0.02)


def steps(count: int) -> None:
    for step in range(1, count + 1):
        heartbeat.beat(f"step {step}")
        time.sleep(0.02)


def spin() -> None:
    while True:
        pass


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
for each in STOP_SIGNALS:
    signal.signal(each, signal.SIG_IGN if behaviour == "stubborn" else on_stop)
signal.signal(signal.SIGUSR1, on_checkpoint)
answer_stack_requests()
signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP_SIGNALS, signal.SIGUSR1))
heartbeat = Heartbeat.from_environment()
print(json.dumps(dict(os.environ)) if behaviour == "environment" else f"rank {rank}", flush=True)
if directory is not None:
    (directory.path / f"ready-{rank}").touch()

if behaviour in ("done", "environment"):
    leave(0, step=3)
if behaviour == "preempted":
    leave(75, step=2, preempted=True)
if behaviour == "left":
    meet()
    leave(75, step=2)
if behaviour == "spent":
    leave(4, step=2, reason="the budget of $5.00 is used up")
if behaviour == "spent-too":
    # Only one rank knows why.
    leave(4, step=2)
if behaviour == "fail":
    leave(71, message="the loss is not finite.", hint="Lower the learning rate.")
if behaviour == "fail-late":
    meet()
    time.sleep(0.3)
    leave(1, message="the connection was closed by a peer.")
if behaviour == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if behaviour == "bug":
    raise ValueError("a bug of the third kind")
if behaviour == "silent":
    os._exit(0)
if behaviour == "exit-76":
    meet()
    time.sleep(0.5)
    os._exit(76)
if behaviour in ("spin", "freeze", "wait"):
    # What waits for another rank has come further than that one.
    steps(4 if behaviour == "wait" else 3)
if behaviour == "spin":
    spin()
if behaviour == "freeze":
    os.kill(os.getpid(), signal.SIGSTOP)
if behaviour.startswith("once-"):
    # The first attempt ends so, for example once-73; the next one is done.
    how = behaviour.removeprefix("once-")
    if attempt > 1:
        leave(0, step=3)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "frozen":
        steps(3)
        os.kill(os.getpid(), signal.SIGSTOP)
    leave(int(how), step=1, message="" if how in ("75", "76") else "no luck.")

# What is left waits: hang and told-76, until a SIGTERM; slow, a moment longer; stubborn, for ever.
deadline = time.monotonic() + 60
while not stopped and time.monotonic() < deadline:
    time.sleep(0.02)
if behaviour == "slow":
    time.sleep(3)
if behaviour == "told-76":
    os._exit(76)
leave(75, step=2)
