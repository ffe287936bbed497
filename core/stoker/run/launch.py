"""Starts a run's supervisor, detached from this terminal or tied to this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stoker.run.attempt import take_over
from stoker.run.directory import RunDirectory
from stoker.run.files import make_private_directory
from stoker.run.lease import Lease
from stoker.run.ledger import Tariff
from stoker.run.ranks import Topology, held_signals


@dataclass
class Launched:
    """A started supervisor. Keep this object: a foreground run stops when it is gone."""

    process: subprocess.Popen[bytes]
    hold: int | None = None
    """Our end of the pipe by which the supervisor notices that we are gone; None when detached."""


def launch(
    directory: RunDirectory,
    topology: Topology,
    *,
    foreground: bool,
    program: Sequence[str] = (),
    change: Callable[[], None] = lambda: None,
    tariff: Tariff | None = None,
) -> Launched:
    """Take the run's lease and start its supervisor in a session of its own.

    In the foreground, the run saves and stops when this process disappears. `change` is called while
    nobody else can start the run, to change its recipe. With a `tariff` the supervisor keeps the run's
    ledger. Raises `UsageError` if somebody else holds the lease.
    """
    lease = take_over(directory, change)
    make_private_directory(directory.supervisor_log_path.parent)
    log = os.open(
        directory.supervisor_log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
    )
    try:
        run = str(directory.path.absolute())
        launched = _start(run, topology, foreground, program, lease, log, tariff=tariff)
        directory.update_record(pid=launched.process.pid)
        return launched
    finally:
        os.close(log)
        lease.release()


def launch_node(topology: Topology, lock_path: Path, *, program: Sequence[str] = ()) -> Launched:
    """Start the supervisor of a node other than the first, in the foreground, on our standard error."""
    environment = {**os.environ, "STOKER_LOCK": str(lock_path)}
    return _start("-", topology, True, program, None, None, environment)


def _start(
    run: str,
    topology: Topology,
    foreground: bool,
    program: Sequence[str],
    lease: Lease | None,
    log: int | None,
    environment: Mapping[str, str] | None = None,
    tariff: Tariff | None = None,
) -> Launched:
    command = [
        sys.executable,
        "-P",
        "-m",
        "stoker.run.supervisor",
        run,
        *_topology_options(topology),
    ]
    inherited = []
    if lease is not None:
        command += ["--lease-fd", str(lease.descriptor)]
        inherited.append(lease.descriptor)
    read_end, hold = os.pipe() if foreground else (None, None)
    if read_end is not None:
        command += ["--foreground-fd", str(read_end)]
        inherited.append(read_end)
    if tariff is not None:
        command += ["--tariff", json.dumps(asdict(tariff))]
    if program:
        command += ["--program", *program]
    try:
        with held_signals():
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
                start_new_session=True,
            )
    finally:
        if read_end is not None:
            os.close(read_end)
    return Launched(process, hold)


def _topology_options(topology: Topology) -> list[str]:
    options = ["--nproc", str(topology.nproc)]
    if topology.nodes > 1:
        options += ["--nodes", str(topology.nodes), "--node-rank", str(topology.node_rank)]
        options += ["--rendezvous", topology.rendezvous]
    return options
