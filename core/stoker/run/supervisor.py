"""The process that starts the ranks of one node and stays with them to the end.

`python -m stoker.run.supervisor RUN_DIRECTORY --nproc N` is started by `stoker.run.launch` in a
session of its own, so a closed terminal does not reach it. It alone begins and ends attempts: it ends
ranks that hang, and starts them again after failures. On nodes other than the first, RUN_DIRECTORY is
`-`: there it only starts ranks, watches them and passes signals on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import ExitCode, StokerError
from stoker.plan.stored import grade_attempt, store_plan
from stoker.recipe.lock import read_lock
from stoker.recipe.schema import LaunchTable
from stoker.run.attempt import (
    attempt_exit_code,
    begin_attempt,
    end_attempt,
    end_before_restart,
    report_hang,
    take_over,
)
from stoker.run.complaints import complain, complaining
from stoker.run.directory import RunDirectory
from stoker.run.ending import gather_outcomes, were_cut_short
from stoker.run.files import make_private_directory
from stoker.run.interrupts import Interrupts
from stoker.run.lease import Lease
from stoker.run.ledger import Tariff
from stoker.run.log_clock import LogClock
from stoker.run.meter import Meter
from stoker.run.outcome import RankOutcome, read_outcomes
from stoker.run.ranks import RankProcess, StartRank, Topology, rank_environment, start_rank
from stoker.run.restarts import Restart, Restarts, wait_for
from stoker.run.waiting import Overseer, Patience
from stoker.run.watchdog import Hang, Watchdog, watch_environment

# -P: a file called datasets.py where stoker is called from must not be taken for the library.
WORKER_COMMAND = (sys.executable, "-P", "-m", "stoker.train.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code of the run."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    command = tuple(options.program) or WORKER_COMMAND
    try:
        topology = Topology(options.nproc, options.nodes, options.node_rank, options.rendezvous)
        if options.run_directory == "-":
            interrupts = Interrupts(None, options.foreground_fd).install()
            launch = read_launch_table(os.environ.get("STOKER_LOCK"))
            return supervise_node(topology, interrupts, command=command, launch=launch)
        directory = RunDirectory(Path(options.run_directory))
        interrupts = Interrupts(directory, options.foreground_fd).install()
        if options.lease_fd is None:
            lease = take_over(directory)
        else:
            lease = Lease.inherit(directory.lease_path, options.lease_fd)
        launch = read_launch_table(directory.lock_path)
        tariff = Tariff(**json.loads(options.tariff)) if options.tariff else None
        return supervise_run(
            directory, topology, lease, interrupts, command=command, launch=launch, tariff=tariff
        )
    except StokerError as error:
        complain(str(error))
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
    parser.add_argument("--tariff", help="what an hour costs: keeps the run's ledger")
    parser.add_argument("--program", nargs=argparse.REMAINDER, default=[], help="instead of the worker")
    return parser.parse_args(arguments)


def read_launch_table(lock_path: str | Path | None) -> LaunchTable:
    """The recipe's `[launch]` table; its defaults where the lock cannot be read, as ranks will say."""
    try:
        # Variables that are not set are the ranks' concern, too.
        return read_lock(Path(lock_path), allow_unset=True).launch if lock_path else LaunchTable()
    except StokerError:
        return LaunchTable()


def supervise_run(
    directory: RunDirectory,
    topology: Topology,
    lease: Lease,
    interrupts: Interrupts,
    *,
    command: Sequence[str] = WORKER_COMMAND,
    patience: Patience | None = None,
    launch: LaunchTable | None = None,
    start: StartRank = start_rank,
    tariff: Tariff | None = None,
) -> int:
    """Run attempts on this node until one ends well or for good. Returns the last one's exit code.

    `launch` says how many restarts there are and after how long ranks hang. `start` starts a rank;
    give another where ranks are no new programs. With a `tariff` each attempt is entered in the ledger.
    """
    supervision = _Supervision(
        directory,
        topology,
        lease,
        interrupts,
        command,
        patience or Patience(),
        launch or LaunchTable(),
        start,
        tariff,
    )
    return supervision.run()


@dataclass(frozen=True)
class _Supervision:
    """Everything that the attempts of one launch have in common."""

    directory: RunDirectory
    topology: Topology
    lease: Lease
    interrupts: Interrupts
    command: Sequence[str]
    patience: Patience
    launch: LaunchTable
    start: StartRank
    tariff: Tariff | None = None

    def run(self) -> int:
        """Attempts, and the time between them. Returns the exit code of the last one."""
        restarts = Restarts(self.launch.max_restarts, self.patience)
        while True:
            attempt = begin_attempt(self.directory, nproc=self.topology.nproc, nodes=self.topology.nodes)
            meter = self._start_meter(attempt)
            exit_code, restart = self._run_attempt(attempt, restarts, meter)
            if restart is None:
                return exit_code
            if not wait_for(restart, self.interrupts, self.patience, self.lease):
                left = self.interrupts.insisted
                return end_before_restart(self.directory, attempt, left=left)

    def _start_meter(self, attempt: int) -> Meter | None:
        if self.tariff is None:
            return None
        return Meter(self.directory, self.tariff, attempt=attempt, gpus=self.topology.world_size).start()

    def _run_attempt(
        self, attempt: int, restarts: Restarts, meter: Meter | None
    ) -> tuple[int, Restart | None]:
        """Run one attempt and note how it ended. Returns its exit code and what follows."""
        ranks: list[RankProcess] = []
        watchdog = Watchdog(
            ranks,
            self.directory.attempt_path(attempt),
            self.launch.hang_seconds,
            self.patience.start_seconds,
        )
        log_clock = LogClock(self.directory.attempt_path(attempt), attempt)
        overseer = Overseer(ranks, self.interrupts, self.patience, watchdog, self.lease, log_clock)
        is_over = False
        try:
            self._start_ranks(attempt, ranks)
            # Ranks import their libraries meanwhile.
            with complaining():
                store_plan(self.directory, ranks=self.topology.world_size, nodes=self.topology.nodes)
            overseer.wait()
            is_over = not overseer.gave_up
        finally:
            # Whatever happened here, no rank outlives its supervisor.
            overseer.kill()
            log_clock.close()
            watchdog.clear()
            outcomes = gather_outcomes(read_outcomes(self.directory, attempt), ranks, overseer.hang)
            left = were_cut_short(outcomes, ranks)
            exit_code = attempt_exit_code(outcomes, left=left)
            restart = restarts.after(exit_code) if is_over and not self.interrupts.wanted else None
            # First: whoever sees that the attempt is over finds its account closed.
            if meter is not None:
                meter.stop()
            # On a disk that is full to the last byte the exit code is all that can be said.
            with complaining():
                grade_attempt(self.directory, attempt)
            with complaining():
                if overseer.hang is not None:
                    report_hang(self.directory, attempt, overseer.hang)
                end_attempt(self.directory, attempt, outcomes, left=left, restart=restart)
        return exit_code, restart

    def _start_ranks(self, attempt: int, ranks: list[RankProcess]) -> None:
        """Start this node's ranks of an attempt, one after the other, into `ranks`."""
        store, folder = self.directory.store_path(attempt), self.directory.attempt_path(attempt)
        make_private_directory(store.parent)
        base = {key: value for key, value in os.environ.items() if key != "STOKER_LOCK"}
        for local_rank in range(self.topology.nproc):
            rank = self.topology.first_rank + local_rank
            environment = rank_environment(self.topology, local_rank, attempt, store, base)
            process = self.start(
                rank,
                [*self.command, str(self.directory.path)],
                environment | watch_environment(folder, rank),
                self.directory.log_path(attempt, rank),
                keep_open=[self.lease.descriptor],
            )
            ranks.append(process)


def supervise_node(
    topology: Topology,
    interrupts: Interrupts,
    *,
    command: Sequence[str] = WORKER_COMMAND,
    patience: Patience | None = None,
    launch: LaunchTable | None = None,
) -> int:
    """Start the ranks of a node other than the first; they write to the run directory by themselves.

    Until they know it their output goes to a temporary file, shown if they fail before.
    """
    launch = launch or LaunchTable()
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        processes: list[RankProcess] = []
        patience = patience or Patience()
        watchdog = Watchdog(processes, Path(folder), launch.hang_seconds, patience.start_seconds)
        overseer = Overseer(processes, interrupts, patience, watchdog)
        try:
            for local_rank in range(topology.nproc):
                rank = topology.first_rank + local_rank
                # The attempt is node 0's to count; the ranks learn it with the run directory.
                environment = rank_environment(topology, local_rank, 1, Path(folder) / "store")
                environment |= watch_environment(Path(folder), rank)
                log_path = Path(folder) / f"rank-{rank}.log"
                processes.append(start_rank(rank, [*command, "-"], environment, log_path))
            overseer.wait()
        finally:
            overseer.kill()
        return _node_exit_code(processes, overseer.hang)


def _node_exit_code(processes: Sequence[RankProcess], hang: Hang | None) -> int:
    # Outcome files lie in the run directory, which this node may not see; exit codes must do.
    done = [
        RankOutcome(rank=each.rank, exit_code=0, time=0.0)
        for each in processes
        if each.exit_code == ExitCode.DONE
    ]
    outcomes = gather_outcomes(done, processes, hang)
    if hang is not None:
        print(hang.message, file=sys.stderr)
    for process in processes:
        if process.failed:
            sys.stderr.write(process.log_path.read_text(errors="replace"))
    return attempt_exit_code(outcomes, left=were_cut_short(outcomes, processes))


if __name__ == "__main__":
    sys.exit(main())
