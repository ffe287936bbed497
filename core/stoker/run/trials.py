"""Several short runs, one after the other, in ranks that are started once.

Importing torch and joining a process group takes seconds; a trial of a tiny model takes less. Used by
`stoker equivalence`, the benchmarks and the tests of the capability matrix.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from stoker.recipe.model import Recipe
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.files import make_private_directory
from stoker.run.outcome import RankOutcome, first_failure, read_outcomes
from stoker.run.ranks import Topology, rank_environment

COMMAND = (sys.executable, "-P", "-m", "stoker.train.trials")
SECONDS_FOR_THE_OTHERS = 20.0
"""After one rank failed, how long the others may take to notice before all are started anew."""
_SECONDS_BETWEEN_LOOKS = 0.02


@dataclass(frozen=True)
class Trial:
    """What came of one run."""

    directory: RunDirectory
    failure: RankOutcome | None
    """The first rank's that failed; None where all came to the end."""
    seconds: float

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of a kind, in order."""
        return [event for event in read_events(self.directory.events_path) if event["kind"] == kind]

    def values(self, key: str) -> list[float]:
        """One number for each step, such as `loss` or `grad_norm`."""
        return [float(event[key]) for event in self.events("step")]

    @property
    def problem(self) -> str:
        """Why it failed, in words; empty where it did not."""
        if self.failure is None:
            return ""
        error = self.failure.error
        return error.message if error else f"a rank ended with {self.failure.exit_code}"


class TrialRanks:
    """`nproc` ranks that train what they are told to. A context manager; ends them when left."""

    def __init__(self, nproc: int, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        """`folder` takes runs, logs of the ranks, and the file through which they meet."""
        self.nproc = nproc
        self.folder = folder
        self._environment = dict(environment)
        self._ranks: list[subprocess.Popen[str]] = []
        self._starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, name: str, recipe: Recipe) -> Trial:
        """Train `recipe` on all ranks. What goes wrong is in the result; nothing is raised for it."""
        if not self._ranks:
            self._start()
        directory = RunDirectory.create(self.folder / "runs", name, recipe)
        started = time.monotonic()
        for rank in self._ranks:
            assert rank.stdin is not None
            with suppress(BrokenPipeError):
                rank.stdin.write(f"{directory.path.absolute()}\n")
                rank.stdin.flush()
        outcomes = self._wait(directory)
        seconds = time.monotonic() - started
        if len(outcomes) < self.nproc:
            self.kill()
        failure = first_failure(outcomes) or self._silent_end(outcomes)
        return Trial(directory, failure, seconds)

    def _wait(self, directory: RunDirectory) -> list[RankOutcome]:
        """Every rank's outcome, or fewer where one died or hung after another's failure."""
        failed_at: float | None = None
        while True:
            ended = any(rank.poll() is not None for rank in self._ranks)
            outcomes = read_outcomes(directory, 1)
            if len(outcomes) == self.nproc:
                return outcomes
            if failed_at is None and (ended or any(outcome.failed for outcome in outcomes)):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > SECONDS_FOR_THE_OTHERS:
                return outcomes
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _silent_end(self, outcomes: list[RankOutcome]) -> RankOutcome | None:
        if len(outcomes) == self.nproc:
            return None
        known = {outcome.rank for outcome in outcomes}
        rank = next(rank for rank in range(self.nproc) if rank not in known)
        return RankOutcome(rank=rank, exit_code=1, time=time.time())

    def _start(self) -> None:
        self._starts += 1
        topology = Topology(self.nproc)
        place = self.folder / f"ranks-{self._starts}"
        make_private_directory(place)
        for rank in range(self.nproc):
            environment = rank_environment(topology, rank, 1, place / "store", self._environment)
            with (place / f"rank-{rank}.log").open("w") as log:
                self._ranks.append(
                    subprocess.Popen(
                        COMMAND,
                        env=environment,
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        text=True,
                        start_new_session=True,
                    )
                )

    def kill(self) -> None:
        """End all ranks at once; the next trial starts new ones."""
        for rank in self._ranks:
            rank.kill()
        self._leave()

    def close(self) -> None:
        """Let the ranks leave; end those that do not."""
        for rank in self._ranks:
            assert rank.stdin is not None
            with suppress(BrokenPipeError):
                rank.stdin.close()
        for rank in self._ranks:
            try:
                rank.wait(timeout=SECONDS_FOR_THE_OTHERS)
            except subprocess.TimeoutExpired:
                rank.kill()
        self._leave()

    def _leave(self) -> None:
        for rank in self._ranks:
            rank.wait()
            with suppress(BrokenPipeError):
                if rank.stdin is not None:
                    rank.stdin.close()
        self._ranks = []
