"""SIGKILL at random instants, and the other signals, each followed by a resume."""

from __future__ import annotations

import random
import signal
import time

from stoker.checkpoint.finding import newest_valid, survey
from stoker.errors import ExitCode
from stoker.run.directory import RunDirectory
from stoker.run.events import read_events
from stoker.run.outcome import read_outcomes
from stoker.torture.forking import Prepare, kill
from stoker.torture.report import Report
from stoker.torture.runs import (
    INTERVAL,
    Attempt,
    Result,
    Setup,
    leftovers,
    result_of,
    wait_until_free,
)

KILL_TARGETS = ("rank", "all", "launcher")
SIGNAL_TARGETS = ("rank", "launcher", "group")
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MOST_LOST = 2 * INTERVAL
"""One interval, and one while the checkpoint before it was being written."""


class Storm:
    """Faults at random instants of one run after the other, until so many have struck."""

    def __init__(self, setup: Setup, chance: random.Random, mode: str) -> None:
        self.setup = setup
        self.chance = chance
        self.report = Report(mode, setup.engine, setup.ranks)
        self.prepare: Prepare | None = None
        """Called in each rank of the tortured runs: tests put a fault there that must be noticed."""
        self._started = time.monotonic()
        self._calm: Result | None = None
        self._seconds = 0.0

    def calm_run(self) -> float:
        """Train without any fault; returns its seconds. Everything is compared with it."""
        directory = self.setup.make("calm")
        attempt = Attempt(directory, self.setup.ranks)
        if (code := attempt.wait()) != ExitCode.DONE:
            raise RuntimeError(f"the uninterrupted run ended with {code}: see {directory.path}/logs.")
        self._seconds = time.monotonic() - attempt.started
        self._calm = result_of(directory)
        return self._seconds

    def kills(self, number: int) -> Report:
        """So many SIGKILLs, to one rank, to all, or to the launcher."""
        self.calm_run()
        while self.report.faults < number and not self.report.problems:
            directory = self.setup.make(f"killed-{self.report.runs}")
            self._through(directory, number, self._kill_once)
        return self._end()

    def signals(self, number: int) -> Report:
        """So many signals that ask for a stop or a checkpoint."""
        self.calm_run()
        while self.report.faults < number and not self.report.problems:
            directory = self.setup.make(f"signalled-{self.report.runs}")
            self._through(directory, number, self._signal_once)
        return self._end()

    def _end(self) -> Report:
        self.report.seconds = time.monotonic() - self._started
        return self.report

    def _through(self, directory: RunDirectory, number: int, strike: object) -> None:
        """Bring one run to its end through faults, then compare it."""
        assert callable(strike)
        while True:
            wait_until_free(directory)
            newest, last = self._newest(directory), directory.read_record().attempt
            attempt = Attempt(directory, self.setup.ranks, self.prepare)
            struck = self.report.faults < number and strike(attempt)
            code = attempt.wait()
            # A launcher may be killed before it has begun one.
            if directory.read_record().attempt > last:
                self._check_pick(directory, newest)
            if struck:
                continue
            if code != ExitCode.DONE:
                self.report.by_hand += 1
                error = directory.read_record().error or {}
                self.report.blame(f"{directory.name} ended with {code}: {error.get('message')}")
                return
            break
        self.report.runs += 1
        if result_of(directory) != self._calm:
            self.report.unequal += 1
            self.report.blame(f"{directory.name} differs from the uninterrupted run")
        if leftovers(directory):
            self.report.blame(f"{directory.name} has unfinished directories at its end")

    def _newest(self, directory: RunDirectory) -> int | None:
        """The step that the next attempt must go on from."""
        if not directory.checkpoints_path.exists():
            return None
        checkpoint, passed_over = newest_valid(directory.checkpoints_path, directory.read_record().id)
        if passed_over:
            self.report.bad_picks += 1
            self.report.blame(f"a kill has left a checkpoint that is none: {passed_over[0]}")
        return None if checkpoint is None else checkpoint.step

    def _check_pick(self, directory: RunDirectory, newest: int | None) -> None:
        """The attempt that has ended went on from the newest checkpoint, and lost few steps."""
        attempt = directory.read_record().attempt
        events = list(read_events(directory.events_path))
        resumed = [e["step"] for e in events if e["kind"] == "resume" and e["attempt"] == attempt]
        if not resumed:  # struck before it came so far, or the first
            began = any(e["kind"] == "step" and e["attempt"] == attempt for e in events)
            if began and newest is not None:
                self.report.bad_picks += 1
                self.report.blame(f"{directory.name} began anew though step {newest} was durable")
            return
        self.report.resumes += 1
        if resumed[0] != newest:
            self.report.bad_picks += 1
            self.report.blame(f"{directory.name} went on from {resumed[0]} instead of {newest}")
        before = [e["step"] for e in events if e["kind"] == "step" and e["attempt"] < attempt]
        lost = max(before, default=0) - resumed[0]
        self.report.lost_steps = max(self.report.lost_steps, lost)
        if lost > _MOST_LOST:
            self.report.blame(f"{directory.name} lost {lost} steps")

    def _kill_once(self, attempt: Attempt) -> bool:
        if attempt.is_over_by(self.chance.uniform(0.0, self._seconds)):
            return False
        ranks, target = attempt.ranks(), self.chance.choice(KILL_TARGETS)
        if target == "launcher" or not ranks:
            kill(attempt.launcher.pid)
        elif target == "rank":
            kill(self.chance.choice(ranks))
        else:
            for pid in (attempt.launcher.pid, *ranks):
                kill(pid)
        self.report.faults += 1
        return True

    def _signal_once(self, attempt: Attempt) -> bool:
        if attempt.is_over_by(self.chance.uniform(0.0, self._seconds)):
            return False
        ranks, target = attempt.ranks(), self.chance.choice(SIGNAL_TARGETS)
        number = self.chance.choice((*STOPS, signal.SIGUSR1))
        people = {"rank": ranks[-1:], "launcher": [], "group": ranks}[target]
        if target != "rank" or not people:
            people = [attempt.launcher.pid, *people]
        for pid in people:
            kill(pid, number)
        self.report.faults += 1
        code = attempt.wait()
        if number != signal.SIGUSR1:
            self._check_stop(attempt.directory, code, f"{number.name} to {target}")
        return code != ExitCode.DONE

    def _check_stop(self, directory: RunDirectory, code: int, what: str) -> None:
        """75 and a durable checkpoint of the same step on all ranks; 0 if it was done before."""
        if code == ExitCode.DONE:
            return
        record = directory.read_record()
        steps = {outcome.step for outcome in read_outcomes(directory, record.attempt)}
        found = survey(directory.checkpoints_path, record.id)
        newest = found[0].checkpoint.step if found and not found[0].problem else 0
        if code != ExitCode.STOPPED:
            self.report.by_hand += 1
            self.report.blame(f"{what}: {directory.name} ended with {code} instead of 75")
        elif len(steps) > 1:
            self.report.blame(f"{what}: the ranks of {directory.name} stopped at steps {sorted(steps)}")
        elif steps and newest < max(steps):
            self.report.blame(f"{what}: {directory.name} stopped at {max(steps)}, saved {newest}")
