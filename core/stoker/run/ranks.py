"""The ranks of one node: where they stand among all, their environment, and their processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from stoker.errors import ExitCode, UsageError
from stoker.run.files import make_private_directory
from stoker.run.orphans import SUPERVISOR_VARIABLE

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
_FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECKPOINT_SIGNAL = signal.SIGUSR1
INSIST_SIGNAL = signal.SIGQUIT
"""To a supervisor: leave at once. `stoker run` makes it of a second Ctrl-C."""
STACK_SIGNAL = signal.SIGUSR2
HELD_SIGNALS = (*STOP_SIGNALS, CHECKPOINT_SIGNAL, INSIST_SIGNAL, STACK_SIGNAL)
"""Blocked in what we start until it can handle them, so that none comes too early."""


@dataclass(frozen=True)
class Topology:
    """How many ranks there are, and which of them live on this node."""

    nproc: int = 1
    """Ranks on each node."""
    nodes: int = 1
    node_rank: int = 0
    rendezvous: str = ""
    """`HOST:PORT` on node 0; only where there are several nodes."""

    def __post_init__(self) -> None:
        if self.nproc < 1 or not 0 <= self.node_rank < self.nodes:
            raise UsageError(
                f"node {self.node_rank} of {self.nodes} with {self.nproc} ranks cannot be.",
                hint="Node ranks count from 0; --nproc is at least 1.",
            )
        if self.nodes > 1:
            self.address()

    def address(self) -> tuple[str, int]:
        """Host and port of the rendezvous. Raises `UsageError` if they are not given properly."""
        host, _, port = self.rendezvous.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(
                f"several nodes need --rendezvous HOST:PORT, found {self.rendezvous!r}.",
                hint="Give node 0's address and a free port there, the same on every node.",
            )
        return host.strip("[]"), int(port)

    @property
    def world_size(self) -> int:
        return self.nproc * self.nodes

    @property
    def first_rank(self) -> int:
        return self.node_rank * self.nproc


def rank_environment(
    topology: Topology,
    local_rank: int,
    attempt: int,
    store: Path,
    base: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Environment of one rank; see the worker for how it is read."""
    environment = {key: value for key, value in base.items() if key not in _FOREIGN}
    environment |= {
        "RANK": str(topology.first_rank + local_rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(topology.world_size),
        "LOCAL_WORLD_SIZE": str(topology.nproc),
        "STOKER_ATTEMPT": str(attempt),
        SUPERVISOR_VARIABLE: str(os.getpid()),
        # Logs are read while they are written, and after crashes.
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
    }
    threads = max(1, _usable_cores() // topology.nproc)
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment | _meeting_place(topology, store, environment)


def _meeting_place(topology: Topology, store: Path, environment: Mapping[str, str]) -> dict[str, str]:
    if topology.nodes == 1:
        return {
            "STOKER_STORE": str(store),
            "GLOO_SOCKET_IFNAME": _LOOPBACK,
            "NCCL_SOCKET_IFNAME": _LOOPBACK,
        }
    host, port = topology.address()
    place = {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
    if (host == "localhost" or host.startswith("127.")) and "GLOO_SOCKET_IFNAME" not in environment:
        place["GLOO_SOCKET_IFNAME"] = _LOOPBACK
    return place


def _usable_cores() -> int:
    # Fewer than the machine has where a batch system or a container pins us.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Process(Protocol):
    """What a supervisor needs of a rank's process, which leads a process group: a part of `Popen`."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """None while it lives, else its exit code; negative, the signal that ended it."""

    def wait(self) -> int:
        """Wait for its end. Returns its exit code."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal; nothing happens if it has ended."""


@dataclass
class RankProcess:
    """One rank's process and what is known about its end."""

    rank: int
    process: Process
    log_path: Path
    exit_code: int | None = None
    """None while it lives; the negative signal number if a signal ended it."""
    ended: float = 0.0
    """When its end was noticed, in seconds of the monotonic clock."""
    last_seen: float = field(default_factory=time.monotonic)
    """When it was last found alive, in seconds of the monotonic clock."""
    told_by: signal.Signals | None = None
    """The signal by which we asked it to leave."""
    killed_by_us: bool = False

    def poll(self) -> bool:
        """Look again. Returns whether it lives."""
        if self.exit_code is None:
            self.exit_code = self.process.poll()
            if self.exit_code is None:
                self.last_seen = time.monotonic()
            else:
                self.ended = time.monotonic()
        return self.exit_code is None

    @property
    def left(self) -> bool:
        """Stopped as asked, with or without a save; perhaps by the signal itself."""
        told = self.told_by is not None and self.exit_code == -self.told_by
        return told or self.exit_code in (ExitCode.OVER_BUDGET, ExitCode.STOPPED, ExitCode.LEFT)

    @property
    def failed(self) -> bool:
        """Ended, and neither done nor stopped."""
        return self.exit_code not in (None, ExitCode.DONE) and not self.left

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to save and leave."""
        if self.poll():
            self.told_by = number
            self.process.send_signal(number)

    def send(self, number: signal.Signals) -> None:
        """Ask it for something else."""
        if self.poll():
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it and its children, at once."""
        if self.poll():
            self.killed_by_us = True
            os.killpg(self.process.pid, signal.SIGKILL)


class StartRank(Protocol):
    """Starts a rank: as a new program, or otherwise, see `prepare_rank`."""

    def __call__(
        self,
        rank: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        keep_open: Sequence[int] = (),
    ) -> RankProcess:
        """`keep_open`: descriptors that the rank must have open under the same numbers."""


def start_rank(
    rank: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    log_path: Path,
    keep_open: Sequence[int] = (),
) -> RankProcess:
    """Start a rank in a process group of its own, with its output in a private log file."""
    make_private_directory(log_path.parent)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with held_signals():
            process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=keep_open,
                process_group=0,
                preexec_fn=partial(prepare_rank, os.getpid()),
            )
    finally:
        os.close(log)
    return RankProcess(rank, process, log_path)


@contextmanager
def held_signals() -> Iterator[None]:
    """For the start of a process: signals to it wait until it can handle them and unblocks them.

    Those to this process wait until the end of the block.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def prepare_rank(supervisor: int) -> None:
    """Runs in a rank's process, started within `held_signals`, before anything else.

    When its supervisor, of that process id, is killed, it gets a SIGTERM, so that it saves and leaves.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        # Killed before it could be heard of: nobody else would ever end this rank.
        os.kill(os.getpid(), signal.SIGTERM)
