"""What the commands about runs have in common: the RUN argument, --run-dir, and how to attend a run."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from stoker.cli.report import report_error
from stoker.errors import ExitCode, StokerError
from stoker.run.directory import DEFAULT_PARENT, RunDirectory
from stoker.run.interrupts import PASSED_SIGNALS, Repeats
from stoker.run.launch import Launched, launch
from stoker.run.ledger import Tariff
from stoker.run.progress import View, make_view
from stoker.run.ranks import INSIST_SIGNAL, Topology
from stoker.run.record import ACTIVE_STATES, RunRecord
from stoker.run.watching import exit_code_of, failure_of, handle, relative, summarise, watch_run

F = TypeVar("F", bound=Callable[..., Any])

_ECHO_SECONDS = 0.05
"""Nobody passes a Ctrl-C on to us, and fingers are not that fast."""


def run_argument(function: F) -> F:
    """RUN (a name or a path) and the folder in which names are looked up."""
    function = click.option(
        "--run-dir",
        type=click.Path(path_type=Path),
        default=DEFAULT_PARENT,
        show_default=True,
        help="Folder that holds runs.",
    )(function)
    return click.argument("run", metavar="RUN")(function)


def output_options(function: F) -> F:
    """How events are shown."""
    function = click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")(
        function
    )
    return click.option("--plain", is_flag=True, help="Plain lines, also on a terminal.")(function)


def launch_options(function: F) -> F:
    """How many processes, on how many nodes."""
    for decorate in (
        click.option("--rendezvous", metavar="HOST:PORT", help="Where the nodes meet: on node 0."),
        click.option(
            "--node-rank", type=click.IntRange(0), default=0, help="Which node this is, from 0."
        ),
        click.option("--nnodes", type=click.IntRange(1), help="Nodes. Default: the recipe's."),
        click.option(
            "--nproc", type=click.IntRange(1), help="Ranks on this node. Default: the recipe's."
        ),
    ):
        function = decorate(function)
    return function


def say_aside(text: str) -> None:
    """A line that is not what was asked for."""
    click.echo(text, err=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=1))


def start_and_attend(
    directory: RunDirectory,
    topology: Topology,
    *,
    detach: bool,
    plain: bool,
    as_json: bool,
    change: Callable[[], None] = lambda: None,
    tariff: Tariff | None = None,
) -> int:
    """Launch a run and, unless detached, watch it to its end. Returns the exit code of the command.

    `change` is called while nobody else can start the run, to change its recipe. With a `tariff` the
    run's ledger is kept.
    """
    attempt = directory.read_record().attempt + 1
    launched = launch(directory, topology, foreground=not detach, change=change, tariff=tariff)
    if detach:
        _say_where(directory, launched, as_json)
        return int(ExitCode.DONE)
    view = make_view(sys.stdout, plain=plain, as_json=as_json)
    return attend(directory, launched, view, attempt, quiet=as_json)


def _say_where(directory: RunDirectory, launched: Launched, as_json: bool) -> None:
    # The supervisor goes on without us; waiting for it is nobody's task.
    launched.process.returncode = 0
    if as_json:
        place = {
            "name": directory.name,
            "directory": str(directory.path),
            "pid": launched.process.pid,
        }
        print_json(place)
        return
    click.echo(f"{directory.name} runs in {relative(directory.path)}")
    click.echo(f"next: stoker watch {handle(directory)}")


def attend(
    directory: RunDirectory, launched: Launched, view: View, attempt: int, *, quiet: bool = False
) -> int:
    """Watch our own run; signals to us go to its supervisor. Returns the run's exit code."""
    process = launched.process

    def is_over() -> bool:
        # Ranks of a supervisor that was killed still save: the run is active until they have left.
        return process.poll() is not None and directory.effective_state() not in ACTIVE_STATES

    view.say(f"{directory.name} runs in {relative(directory.path)}")
    with passing_signals_on(process.pid, view):
        record = watch_run(directory, view, since_attempt=attempt, is_over=is_over)
    code = process.returncode
    if record.state == "lost" and code is not None and code > 0:
        # The supervisor could not write how the run ended; it has said it as it left.
        message = f"{directory.name} ended with exit code {code} and could not write why."
        hint = f"Is there room on the disk that holds {relative(directory.path)}?"
        report_error(StokerError(message, hint=hint))
        return code
    return report_end(directory, record, quiet=quiet)


def report_end(directory: RunDirectory, record: RunRecord, *, quiet: bool = False) -> int:
    """Say how a run ended, failures on standard error. Returns the exit code it stands for."""
    failure = failure_of(directory, record)
    if failure is not None:
        report_error(failure)
    if not quiet:
        for line in summarise(directory, record):
            click.echo(line)
    return exit_code_of(record)


@contextmanager
def passing_signals_on(pid: int, view: View | None = None) -> Iterator[None]:
    """Send signals on to a supervisor instead of dying from them; nohup's SIGHUP stays ignored."""

    repeats = Repeats(_ECHO_SECONDS)

    def on_signal(number: int, frame: FrameType | None) -> None:
        insists = number == signal.SIGINT and repeats.note(time.monotonic())
        try:
            os.kill(pid, INSIST_SIGNAL if insists else number)
        except ProcessLookupError:
            return
        if view is not None and number == signal.SIGINT:
            view.say(
                "leaving at once, without a save"
                if insists
                else "saving and stopping; Ctrl-C again within 5 seconds leaves at once"
            )

    under_nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    numbers = [each for each in PASSED_SIGNALS if each != signal.SIGHUP or not under_nohup]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
