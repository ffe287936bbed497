"""Launchers and ranks as forks of a process that has imported everything.

Nothing may have been started in it before: no thread, no process group, no context of a GPU.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from stoker.errors import ExitCode, StokerError
from stoker.recipe.lock import read_lock
from stoker.run.attempt import take_over
from stoker.run.directory import RunDirectory
from stoker.run.files import make_private_directory
from stoker.run.interrupts import Interrupts
from stoker.run.ranks import STOP_SIGNALS, RankProcess, Topology, held_signals, prepare_rank
from stoker.run.supervisor import supervise_run
from stoker.run.waiting import Patience

PATIENCE = Patience(
    notice_seconds=1.0,
    terminate_seconds=1.0,
    leave_seconds=20.0,
    restart_seconds=0.1,
    poll_seconds=0.01,
    start_seconds=0.0,
)
"""Of the supervisor: what is tested is not how long it waits."""
_SECONDS_BETWEEN_LOOKS = 0.002

Prepare = Callable[[int], None]
"""Called in each rank, with its number, before it begins: faults are put in here."""


def import_everything(engines: Sequence[str]) -> None:
    """Import what ranks import, which starts nothing. Raises `RuntimeError` where something did."""
    import torch

    libraries = ["accelerate", "peft", "transformers", *(["deepspeed"] if "zero-2" in engines else [])]
    modules = [f"stoker.train.{name}" for name in ("build", "evaluate", "loop", "saving", "worker")]
    # Libraries announce what they lack; here nobody asked.
    logging.disable(logging.WARNING)
    for name in (*libraries, *modules):
        import_module(name)
    logging.disable(logging.NOTSET)
    torch.set_num_threads(1)
    if threading.active_count() > 1:
        raise RuntimeError("a library has started a thread when it was imported; forks would hang.")


@dataclass
class Forked:
    """A child process; the part of `Popen` that supervisors need."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """None while it lives, else its exit code; negative, the signal that ended it."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises `TimeoutError`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} did not end within {timeout} s.")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int, /) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)


def fork(work: Callable[[], int]) -> Forked:
    """A child that does `work` and ends with what it returns; 1, with a traceback, if it raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _leave(work)
    return Forked(pid)


def _leave(work: Callable[[], int]) -> NoReturn:
    code = int(ExitCode.FAILED)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(ExitCode.FAILED)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start_launcher(directory: RunDirectory, nproc: int, prepare: Prepare | None = None) -> Forked:
    """A process that does what `stoker resume RUN --nproc N` and its supervisor do."""

    def work() -> int:
        os.setsid()
        _redirect(directory.path / "logs" / "launcher.log")
        interrupts = Interrupts(directory).install()
        try:
            lease = take_over(directory)
        except StokerError as error:
            print(error, file=sys.stderr)
            return int(error.exit_code)
        return supervise_run(
            directory,
            Topology(nproc),
            lease,
            interrupts,
            patience=PATIENCE,
            launch=read_lock(directory.lock_path).launch,
            start=_rank_starter(prepare),
        )

    with held_signals():
        return fork(work)


def _rank_starter(prepare: Prepare | None) -> Callable[..., RankProcess]:
    def start(
        rank: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        keep_open: Sequence[int] = (),
    ) -> RankProcess:
        launcher = os.getpid()

        def work() -> int:
            from stoker.train import worker

            os.setpgid(0, 0)
            prepare_rank(launcher)
            os.environ.clear()
            os.environ.update(environment)
            _redirect(log_path)
            if prepare is not None:
                prepare(rank)
            sys.argv = ["worker", command[-1]]
            worker.main()
            return 0

        with held_signals():
            return RankProcess(rank, fork(work), log_path)

    return start


def _redirect(path: Path) -> None:
    make_private_directory(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def children_of(pid: int) -> list[int]:
    """Process ids of a process' children, as they are now."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(each) for each in text.split()]
    return []


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def reap_children() -> None:
    """Take note of all children that have ended; only where nobody waits for one of them."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
