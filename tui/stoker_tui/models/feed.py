"""What the files of one run say, taken in as they grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stoker.run.directory import RunDirectory
from stoker.run.events import Event
from stoker.run.ledger import Ledger
from stoker.run.lines import clean
from stoker.run.machines import GpuSample, HostSample
from stoker.run.paces import RanksView
from stoker.run.record import ACTIVE_STATES, RunRecord, State
from stoker_tui.models.feed_events import EventsReader
from stoker_tui.models.feed_files import Watched, parse_object
from stoker_tui.models.feed_ledger import LedgerReader
from stoker_tui.models.feed_status import RunStatus
from stoker_tui.models.feed_telemetry import TelemetryReader
from stoker_tui.models.happenings import Happening, Mark
from stoker_tui.models.spent import Spent, spent_of
from stoker_tui.models.tables import StepTable


class RunFeed:
    """One run. Nothing here raises for what stands in files; `problem` says what could not be read.

    `read` and everything else belong to one thread, the one that draws. Only `load` may run in another:
    it fills a table that nobody else knows, and the next `read` puts it in the place of the overview.
    So `steps`, `evaluations`, `marks` and `happenings` may be other objects after a `read`.
    """

    def __init__(self, directory: RunDirectory, clock: Callable[[], float] = time.time) -> None:
        """`clock`: Unix seconds."""
        self.directory = directory
        self.problem = ""
        """Why something cannot be read or believed, as a sentence; empty where all is well."""
        self.cost: Spent | None = None
        self._clock = clock
        self._status = RunStatus(directory)
        self._plan: Watched[dict[str, Any] | None] = Watched(directory.plan_path, parse_object, None)
        self._changes = 0
        self._begin()
        self._io_problem = ""

    def _begin(self) -> None:
        directory = self.directory
        self._telemetry = TelemetryReader(directory.telemetry_path, self._clock)
        self._ledger = LedgerReader(directory.ledger_path)
        self._events = EventsReader(directory.events_path, self._telemetry.mfu_per_speed)
        self._gpus: tuple[int, list[GpuSample], list[HostSample]] = (-1, [], [])
        self._priced: tuple[Event | None, Ledger] = (None, Ledger())

    def read(self, budget_seconds: float = 0.05) -> bool:
        """Take in what is new, for at most about `budget_seconds`; True if more is waiting."""
        deadline = time.monotonic() + budget_seconds
        waits = False
        before = self._io_problem
        self._io_problem = ""
        self._look_at_files()
        for reader in (self._telemetry, self._ledger, self._events):
            try:
                waits = reader.read(deadline) or waits
            except OSError as error:
                self._io_problem = f"{_file_of(error)} cannot be read: {error.strerror}"
            if waits:
                # Steps are taken in with the MFU that telemetry knows.
                break
        self._changes += self._io_problem != before
        self._count_cost()
        self._find_problem()
        return waits

    def load(self, is_cancelled: Callable[[], bool] = lambda: False) -> None:
        """Read all of a large file of events; blocks for seconds: for a thread of its own.

        Without it `read` does the same, a budget at a time.
        """
        self._events.load(is_cancelled)

    @property
    def needs_load(self) -> bool:
        """Whether the file of events is so large that `load` is worth its thread."""
        return self._events.loading is not None

    @property
    def revision(self) -> int:
        """Grows with every change of anything here, but ages and what is left of time."""
        return self._changes + self._events.revision + self._telemetry.revision

    @property
    def record(self) -> RunRecord | None:
        """The latest run.json that could be read."""
        return self._status.record

    @property
    def state(self) -> State | None:
        """As the record says, or `lost` where it says active, and nobody works on the run."""
        return self._status.state

    @property
    def steps(self) -> StepTable:
        """Training, a row for each step; a sample of them while `overview` says so."""
        return self._events.story.steps

    @property
    def evaluations(self) -> StepTable:
        """Evaluations: the column `eval_loss`."""
        return self._events.story.evaluations

    @property
    def supervised_per_second(self) -> float | None:
        """Supervised tokens a second in the latest step."""
        return self._events.story.supervised_per_second

    @property
    def total_steps(self) -> int:
        """Of the whole run; 0 where that is not known yet."""
        return self._events.story.total_steps or (self.record.total_steps if self.record else 0)

    @property
    def step(self) -> int:
        """The step done last, as far as anything tells."""
        return self.steps.last_step or (self.record.step if self.record else 0)

    @property
    def marks(self) -> Sequence[Mark]:
        """What happened, for the axes of charts; in the order in which it was written."""
        return self._events.story.marks

    @property
    def happenings(self) -> Sequence[Happening]:
        """What happened, for people; the latest 5,000, oldest first."""
        return self._events.story.happenings

    @property
    def overview(self) -> str:
        """What is shown in place of all steps while a large file is read; empty once it is."""
        loading = self._events.loading
        if loading is None:
            return ""
        return f"overview: 1 step in {loading.one_in} · reading all, {loading.done:.0%}"

    @property
    def ranks(self) -> RanksView:
        """The pace of every rank, and which one the others wait for."""
        return self._telemetry.ranks

    @property
    def gpus(self) -> list[GpuSample]:
        """The latest sample of every GPU, by host and index."""
        return self._samples()[1]

    @property
    def hosts(self) -> list[HostSample]:
        """The latest sample of every host, by name."""
        return self._samples()[2]

    @property
    def plan(self) -> dict[str, Any] | None:
        """`plan.json`; None where there is none."""
        return self._plan.value

    @property
    def grade(self) -> dict[str, Any] | None:
        """How the plan compared with the latest attempt that is over."""
        grade = (self._plan.value or {}).get("grade")
        return grade if isinstance(grade, dict) else None

    @property
    def progress(self) -> Event | None:
        """The latest `progress` event that no step has followed: `done`, `total`, `phase`, `unit`."""
        return self._events.story.progress if self.is_active else None

    @property
    def eta_seconds(self) -> float | None:
        """Until the last step is done; before the first, until what is in progress is. Else None."""
        return self._events.story.remaining_seconds() if self.is_active else None

    @property
    def is_active(self) -> bool:
        """Whether somebody works on the run."""
        return self.state in ACTIVE_STATES

    def _look_at_files(self) -> None:
        known = self.record
        for watched in (self._status, self._plan):
            self._changes += watched.look()
        if known is not None and self.record is not None and known.id != self.record.id:
            # Another run of this name.
            self._changes += self._events.revision + self._telemetry.revision + 1
            self._begin()

    def _count_cost(self) -> None:
        cost, ledger = self._events.story.cost, self._ledger.ledger
        if cost is not self._priced[0] or ledger is not self._priced[1]:
            self._priced = cost, ledger
            self.cost = spent_of(cost, ledger)
            self._changes += 1

    def _samples(self) -> tuple[int, list[GpuSample], list[HostSample]]:
        telemetry = self._telemetry
        if self._gpus[0] != telemetry.revision:
            gpus = telemetry.machines.gpus(telemetry.ranks.gpu_ranks())
            self._gpus = telemetry.revision, gpus, telemetry.machines.hosts()
        return self._gpus

    def _find_problem(self) -> None:
        before = self.problem
        self.problem = clean(next(filter(None, self._problems()), ""))
        self._changes += self.problem != before

    def _problems(self) -> Sequence[str]:
        """What is wrong, the worst first."""
        events, damaged = self._events, self._events.bad_lines
        return (
            "" if self.directory.path.is_dir() else "the run directory is gone",
            "" if self.directory.record_path.is_file() else "there is no run.json: this is no run",
            self._status.problem,
            self._io_problem,
            "events.jsonl was replaced while it was read" if events.replacements else "",
            "two processes write the steps of this run" if self.steps.late_rows else "",
            # A crash tears one line of an attempt.
            f"{damaged} lines of events.jsonl are damaged" if damaged > self.steps.attempt else "",
            self._plan.problem,
        )


def _file_of(error: OSError) -> str:
    return Path(str(error.filename)).name if error.filename else "a file"
