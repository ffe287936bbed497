"""`stoker checkpoint`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from stoker.cli.checkpoint import command
from stoker.errors import StokerError, UsageError
from stoker.run.control import Inbox
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.lease import Lease

Invoke = Callable[..., Any]


def answer(directory: RunDirectory, phase: str, earlier: str = "") -> threading.Thread:
    """What rank 0 does: take the request, save, say so."""

    def work() -> None:
        inbox, deadline = Inbox(directory), time.monotonic() + 10
        while not inbox.poll() and time.monotonic() < deadline:
            time.sleep(0.01)
        events = EventWriter(directory.events_path, 1, 0)
        if earlier:
            events.write("checkpoint", phase="committed", name=earlier, step=3)
        events.write("checkpoint", phase="started", name="step-00000007", step=7)
        events.write("checkpoint", phase=phase, name="step-00000007", step=7, message="disk full")
        events.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_command_returns_when_the_checkpoint_is_committed(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="running")
    lease, thread = Lease.take(directory.lease_path), answer(directory, "committed")
    result = invoke(command, "fire")
    thread.join()
    lease.release()
    assert (result.exit_code, result.output) == (0, "saved runs/fire/checkpoints/step-00000007\n")


def test_a_save_that_fails_is_an_error(invoke: Invoke, new_run: Any) -> None:
    directory = new_run(state="running")
    lease, thread = Lease.take(directory.lease_path), answer(directory, "failed")
    error = invoke(command, "fire").exception
    thread.join()
    lease.release()
    assert isinstance(error, StokerError)
    assert "disk full" in error.message


def test_a_run_that_ends_first_is_an_error(invoke: Invoke, new_run: Any, start: Any) -> None:
    directory = new_run()
    launched = start(directory, "hang")
    stopper = threading.Timer(0.5, launched.process.terminate)
    stopper.start()
    error = invoke(command, "fire").exception
    stopper.join()
    assert isinstance(error, StokerError)
    assert "without a new checkpoint" in error.message


def test_a_run_that_does_not_run_cannot_save(invoke: Invoke, new_run: Any) -> None:
    new_run(state="done")
    assert isinstance(invoke(command, "fire").exception, UsageError)


def test_a_save_that_was_begun_before_is_no_answer(invoke: Invoke, new_run: Any) -> None:
    """It holds an older step than the one that was asked for."""
    directory = new_run(state="running")
    lease = Lease.take(directory.lease_path)
    events = EventWriter(directory.events_path, 1, 0)
    events.write("checkpoint", phase="started", name="step-00000003", step=3)
    thread = answer(directory, "committed", earlier="step-00000003")
    result = invoke(command, "fire")
    thread.join()
    lease.release()
    assert result.output == "saved runs/fire/checkpoints/step-00000007\n"
