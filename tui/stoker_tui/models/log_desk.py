"""What the screen Logs shows: which attempt and logs of a run, merged or split, filtered how."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from stoker.errors import StokerError
from stoker.run.directory import RunDirectory
from stoker.run.lines import clean
from stoker.run.log_lines import Level
from stoker.run.log_names import attempts_of, failing_rank, logs_of
from stoker.run.log_query import LogQuery
from stoker.run.log_text import Log
from stoker.run.record import RunRecord
from stoker_tui.models.log_panes import MOST_PANES, OpenLogs
from stoker_tui.models.log_rows import LogFilter

ALL = "all"
"""The choice of all ranks."""
LEVEL_STEPS: tuple[Level | None, ...] = (None, "info", "warning", "error")


@dataclass
class LogDesk:
    """Choices of the user, and what there is to choose from."""

    directory: RunDirectory
    attempts: list[int] = field(default_factory=list)
    attempt: int = 0
    """0 where there is none."""
    logs: list[Log] = field(default_factory=list)
    chosen: tuple[str, ...] = ()
    """Names of logs; none for all ranks."""
    failing: int | None = None
    """The rank that failed first in this attempt."""
    failure: str = ""
    """What went wrong there, in one line."""
    problem: str = ""
    """Why nothing can be shown; else empty."""
    is_split: bool = False
    level: Level | None = None
    query: LogQuery | None = None
    only: bool = False
    """Whether lines without a match are hidden."""
    happenings: bool | None = None
    """Whether what happened stands between the lines; None: where there is one pane."""

    def scan(self) -> bool:
        """Look which attempts and logs there are. Returns whether others are to be opened."""
        before = self._shown()
        record = self._read_record()
        was_latest = self.attempt == max(self.attempts, default=0)
        self.attempts = attempts_of(self.directory)
        if was_latest or self.attempt not in self.attempts:
            self._enter(max(self.attempts, default=0), record)
        else:
            self._look_at(record)
        return self._shown() != before

    def step_attempt(self, step: int) -> bool:
        """To the next attempt, or the previous one. Returns whether there is one."""
        if self.attempt + step not in self.attempts:
            return False
        self._enter(self.attempt + step, self._read_record())
        return True

    def choose(self, names: tuple[str, ...]) -> None:
        """Show these logs; none for all ranks."""
        there = [log.name for log in self.logs]
        self.chosen = tuple(name for name in there if name in names)

    def choices(self) -> list[str]:
        """What left and right go through: all ranks, the one that failed first, the others."""
        names = [log.name for log in self.logs]
        failing = f"r{self.failing}"
        first = [failing] if failing in names else []
        return [ALL] * (len(self._ranks()) > 1) + first + [name for name in names if name not in first]

    def step_choice(self, step: int) -> None:
        """To the next choice, or the previous one."""
        choices = self.choices()
        if choices:
            at = choices.index(self.chosen[0]) if len(self.chosen) == 1 else 0
            name = choices[(at + step) % len(choices)]
            self.chosen = () if name == ALL else (name,)

    def step_level(self) -> None:
        """All lines, then without what is for developers, then warnings, then errors."""
        at = LEVEL_STEPS.index(self.level)
        self.level = LEVEL_STEPS[(at + 1) % len(LEVEL_STEPS)]

    @property
    def filter(self) -> LogFilter:
        has_room = not self.is_split
        shows = has_room if self.happenings is None else self.happenings
        return LogFilter(self.level, self.query if self.only else None, shows)

    def open(self) -> OpenLogs:
        """The panes; blocks while it reads."""
        logs = self.shown_logs
        split = [[log] for log in logs[:MOST_PANES]]
        groups = split if self.is_split else [logs]
        opened = OpenLogs(self.directory, self.attempt, groups if logs else [], self.failing)
        opened.set_filter(self.filter, self.query)
        return opened

    def twin(self) -> str:
        """The command that shows the same."""
        parts = ["stoker", "logs", self.directory.name]
        if self.attempts and self.attempt != max(self.attempts):
            parts += ["--attempt", str(self.attempt)]
        names = [log.name for log in self.shown_logs]
        ranks = [log.name for log in self._ranks()]
        for name in ["all"] if names == ranks and len(names) > 1 else names:
            parts += ["--rank", name[1:] if name in ranks else name]
        if self.level is not None:
            parts += ["--level", self.level]
        if self.query is not None and self.only:
            parts += ["--grep", self.query.text]
        return shlex.join(parts)

    @property
    def shown_logs(self) -> list[Log]:
        """The logs that are chosen."""
        if not self.chosen:
            ranks = self._ranks() or self.logs
            # Where not all have room, the one that failed first has.
            return sorted(ranks, key=lambda log: log.rank != self.failing) if self.is_split else ranks
        return [log for log in self.logs if log.name in self.chosen]

    def _ranks(self) -> list[Log]:
        return [log for log in self.logs if log.rank is not None]

    def _enter(self, attempt: int, record: RunRecord | None) -> None:
        is_other, self.attempt = attempt != self.attempt, attempt
        was_failing = self.failing
        self._look_at(record)
        if is_other or (self.failing is not None and was_failing is None and not self.chosen):
            self.chosen = () if self.failing is None else (f"r{self.failing}",)

    def _look_at(self, record: RunRecord | None) -> None:
        self.logs = logs_of(self.directory, self.attempt) if self.attempt else []
        self.chosen = tuple(name for name in self.chosen if name in {log.name for log in self.logs})
        self.failing = None if record is None else failing_rank(record, self.attempt)
        error = record.error if record is not None and self.failing is not None else None
        words = [str(error.get(key) or "").rstrip(". ") for key in ("message", "hint")] if error else []
        self.failure = clean(". ".join(filter(None, words))).replace("\n", " ")

    def _read_record(self) -> RunRecord | None:
        self.problem = ""
        try:
            return self.directory.read_record()
        except StokerError as error:
            self.problem = clean(error.message)
            return None

    def _shown(self) -> tuple[int, tuple[str, ...], int | None]:
        return self.attempt, tuple(log.name for log in self.shown_logs), self.failing
