"""The process that starts the ranks of one node and stays with them to the end.

`python -m stoker.run.supervisor RUN_DIRECTORY --nproc N` is started by `stoker.run.launch` in a
session of its own, so a closed terminal does not reach it. It alone begins and ends attempts. On
nodes other than the first, RUN_DIRECTORY is `-`: there it only starts ranks and passes signals on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stoker.errors import ExitCode, StokerError
from stoker.run.attempt import begin_attempt, end_attempt, take_over
from stoker.run.directory import RunDirectory
from stoker.run.ending import gather_outcomes, were_cut_short
from stoker.run.files import make_private_directory
from stoker.run.interrupts import Interrupts
from stoker.run.lease import Lease
from stoker.run.outcome import RankOutcome, combined_exit_code, read_outcomes
from stoker.run.ranks import RankProcess, Topology, rank_environment, start_rank
from stoker.run.waiting import Overseer, Patience

# -P: a file called datasets.py where stoker is called from must not be taken for the library.
WORKER_COMMAND = (sys.executable, "-P", "-m", "stoker.train.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code of the attempt."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    command = tuple(options.program) or WORKER_COMMAND
    try:
        topology = Topology(options.nproc, options.nodes, options.node_rank, options.rendezvous)
        if options.run_directory == "-":
            interrupts = Interrupts(None, options.foreground_fd).install()
            return supervise_node(topology, interrupts, command=command)
        directory = RunDirectory(Path(options.run_directory))
        interrupts = Interrupts(directory, options.foreground_fd).install()
        if options.lease_fd is None:
            lease = take_over(directory)
        else:
            lease = Lease.inherit(directory.lease_path, options.lease_fd)
        return supervise_run(directory, topology, lease, interrupts, command=command)
    except StokerError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line that `stoker.run.launch` writes."""
    parser = argparse.ArgumentParser(prog="stoker.run.supervisor", description=__doc__)
    parser.add_argument("run_directory", help="the run, or - on nodes other than the first")
    parser.add_argument("--nproc", type=int, default=1, help="ranks on this node")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--rendezvous", default="", metavar="HOST:PORT")
    parser.add_argument("--foreground-fd", type=int, help="stop when the other end of this pipe closes")
    parser.add_argument("--lease-fd", type=int, help="the lease, taken by the process that started us")
    parser.add_argument("--program", nargs=argparse.REMAINDER, default=[], help="instead of the worker")
    return parser.parse_args(arguments)


def supervise_run(
    directory: RunDirectory,
    topology: Topology,
    lease: Lease,
    interrupts: Interrupts,
    *,
    command: Sequence[str] = WORKER_COMMAND,
    patience: Patience | None = None,
) -> int:
    """Run one attempt on this node and note in the record how it ended. Returns its exit code."""
    attempt = begin_attempt(directory, nproc=topology.nproc, nodes=topology.nodes)
    processes: list[RankProcess] = []
    overseer = Overseer(processes, interrupts, patience or Patience())
    try:
        processes += start_ranks(directory, topology, attempt, command, lease)
        overseer.wait()
    finally:
        # Whatever happened here, no rank outlives its supervisor.
        overseer.kill()
        outcomes = gather_outcomes(read_outcomes(directory, attempt), processes)
        left = were_cut_short(outcomes, processes) and not any(each.failed for each in outcomes)
        record = end_attempt(directory, attempt, outcomes, left=left)
    assert record.exit_code is not None
    return record.exit_code


def start_ranks(
    directory: RunDirectory,
    topology: Topology,
    attempt: int,
    command: Sequence[str],
    lease: Lease,
) -> list[RankProcess]:
    """Start this node's ranks of an attempt."""
    store = directory.store_path(attempt)
    make_private_directory(store.parent)
    base = {key: value for key, value in os.environ.items() if key != "STOKER_LOCK"}
    return [
        start_rank(
            topology.first_rank + local_rank,
            [*command, str(directory.path)],
            rank_environment(topology, local_rank, attempt, store, base),
            directory.log_path(attempt, topology.first_rank + local_rank),
            keep_open=[lease.descriptor],
        )
        for local_rank in range(topology.nproc)
    ]


def supervise_node(
    topology: Topology,
    interrupts: Interrupts,
    *,
    command: Sequence[str] = WORKER_COMMAND,
    patience: Patience | None = None,
) -> int:
    """Start the ranks of a node other than the first; they write to the run directory by themselves.

    Until they know it their output goes to a temporary file, shown if they fail before.
    """
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        processes: list[RankProcess] = []
        overseer = Overseer(processes, interrupts, patience or Patience())
        try:
            for local_rank in range(topology.nproc):
                rank = topology.first_rank + local_rank
                # The attempt is node 0's to count; the ranks learn it with the run directory.
                environment = rank_environment(topology, local_rank, 1, Path(folder) / "store")
                log_path = Path(folder) / f"rank-{rank}.log"
                processes.append(start_rank(rank, [*command, "-"], environment, log_path))
            overseer.wait()
        finally:
            overseer.kill()
        return _node_exit_code(processes)


def _node_exit_code(processes: Sequence[RankProcess]) -> int:
    # Outcome files lie in the run directory, which this node may not see; exit codes must do.
    done = [
        RankOutcome(rank=each.rank, exit_code=0, time=each.ended)
        for each in processes
        if each.exit_code == ExitCode.DONE
    ]
    outcomes = gather_outcomes(done, processes)
    for process in processes:
        if process.failed:
            sys.stderr.write(process.log_path.read_text(errors="replace"))
    if were_cut_short(outcomes, processes) and not any(each.failed for each in outcomes):
        return int(ExitCode.LEFT)
    return combined_exit_code(outcomes)


if __name__ == "__main__":
    sys.exit(main())
