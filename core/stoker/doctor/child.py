"""Processes that are asked something: at most two at once, each with a limit to its time.

A library that hangs, crashes or prints while it is imported takes down only the process it is in.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import psutil

MAX_CHILDREN = 2
TIMEOUT_SECONDS = 60.0
"""The first import of torch from a cold network disk takes half a minute."""

_GRACE_SECONDS = 2.0

_T = TypeVar("_T")


class Ended(NamedTuple):
    """How a process ended and what it printed."""

    code: int
    """Negative: the signal that ended it."""
    output: str
    errors: str
    timed_out: bool = False


class Answer(NamedTuple):
    """What a probe said. Without a failure, `value` is JSON; with one, it is None."""

    value: Any
    failure: str = ""
    """One line: why there is no value."""


def in_parallel(tasks: Sequence[Callable[[], _T]]) -> list[_T]:
    """Results of tasks in their order, as many at once as there may be children."""
    with ThreadPoolExecutor(MAX_CHILDREN) as pool:
        return list(pool.map(lambda task: task(), tasks))


def ask_probe(name: str, *arguments: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Run `stoker.doctor.probes.NAME` in a process of its own and read its answer."""
    # -P: files of the current folder are not what a run would import.
    command = [sys.executable, "-P", "-m", f"stoker.doctor.probes.{name}", *arguments]
    ended = run_command(command, timeout_seconds=timeout_seconds)
    if ended.timed_out:
        return Answer(None, f"no answer within {timeout_seconds:g} s")
    with suppress(ValueError):
        return Answer(json.loads(ended.output))
    return Answer(None, _failure(ended))


def run_command(command: Sequence[str], *, timeout_seconds: float = TIMEOUT_SECONDS) -> Ended:
    """Run a program without input; it and all that it started are ended when the time is over.

    Raises `OSError` if it cannot be started.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=_environment(),
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            _kill_tree(process.pid)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_GRACE_SECONDS)
            return Ended(-signal.SIGKILL, "", "", timed_out=True)
    return Ended(process.returncode, output, errors)


def _environment() -> dict[str, str]:
    """Ours, without the current folder on Python's path, and without a way to the network."""
    # Some libraries report to their makers that they were imported.
    changes = {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "true"}
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    changes["PYTHONPATH"] = os.pathsep.join(path for path in paths if path not in ("", "."))
    return {**os.environ, **changes}


def _kill_tree(pid: int) -> None:
    # Not the process group: Ctrl-C on the terminal is to reach the children as well.
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [*root.children(recursive=True), root]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _failure(ended: Ended) -> str:
    """One line about a process that did not answer."""
    if ended.code < 0:
        return f"the process was ended by {signal_name(-ended.code)}"
    lines = [line.strip() for line in ended.errors.splitlines() if line.strip()]
    return lines[-1] if lines else f"the process ended with {ended.code}"


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
