"""The ranks of one node: where they stand among all, their environment, and their processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoker.errors import ExitCode, UsageError
from stoker.run.files import make_private_directory

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
_FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


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


@dataclass
class RankProcess:
    """One rank's process and what is known about its end."""

    rank: int
    process: subprocess.Popen[bytes]
    log_path: Path
    exit_code: int | None = None
    """None while it lives; the negative signal number if a signal ended it."""
    ended: float = 0.0
    """When its end was noticed, in Unix seconds."""
    last_seen: float = field(default_factory=time.time)
    """When it was last found alive, in Unix seconds."""
    told_to_leave: bool = False
    killed_by_us: bool = False

    def poll(self) -> bool:
        """Look again. Returns whether it lives."""
        if self.exit_code is None:
            self.exit_code = self.process.poll()
            if self.exit_code is None:
                self.last_seen = time.time()
            else:
                self.ended = time.time()
        return self.exit_code is None

    @property
    def left(self) -> bool:
        """Stopped as asked; a rank that was still starting does not handle the signal yet."""
        told = self.told_to_leave and self.exit_code == -signal.SIGTERM
        return told or self.exit_code == ExitCode.STOPPED

    @property
    def failed(self) -> bool:
        """Ended, and neither done nor stopped."""
        return self.exit_code not in (None, ExitCode.DONE) and not self.left

    def terminate(self) -> None:
        """Ask it to save and leave."""
        if self.poll():
            self.told_to_leave = True
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its children, at once."""
        if self.poll():
            self.killed_by_us = True
            os.killpg(self.process.pid, signal.SIGKILL)


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
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=keep_open,
            process_group=0,
            preexec_fn=_leave_with_parent if _LIBC else None,
        )
    finally:
        os.close(log)
    return RankProcess(rank, process, log_path)


def _leave_with_parent() -> None:
    """Runs in the child: a rank whose supervisor is killed gets SIGTERM, so it saves and leaves."""
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
