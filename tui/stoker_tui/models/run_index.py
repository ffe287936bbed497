"""All runs of a folder as rows, kept up to date: what has not changed is not read again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoker.errors import StokerError
from stoker.run.directory import RECORD_NAME, RunDirectory
from stoker.run.latest import Latest, read_latest
from stoker.run.ledger import read_usd
from stoker.run.overview import RunRow, damaged_row, is_run, make_row
from stoker.run.record import ACTIVE_STATES, RunRecord, State
from stoker.run.settings import Settings, read_settings

_REST = 200.0
_LONGEST_REST_SECONDS = 10.0
_NOTHING = (0, 0, 0)

Signature = tuple[int, int, int]
"""Modification time, size and inode of a file; zeros without one."""


@dataclass
class _Entry:
    """What is known of one run, and of which versions of its files."""

    directory: RunDirectory
    record_path: str
    """Joined once: a look at thousands of runs is made of little else."""
    seen: Signature | None = None
    """Of run.json as it was read; None before."""
    record: RunRecord | None = None
    state: State = "preparing"
    problem: str = ""
    events_seen: Signature | None = None
    settings: Settings = field(default_factory=Settings)
    settings_of_attempt: int | None = None
    latest: Latest = field(default_factory=Latest)
    usd: float | None = None
    row: RunRow | None = None

    @property
    def is_active(self) -> bool:
        return self.record is not None and self.record.state in ACTIVE_STATES

    @property
    def is_detailed(self) -> bool:
        """Whether model, loss and money were read; damaged runs have none."""
        return self.record is None or self.events_seen is not None


class RunIndex:
    """Rows of all runs in a folder, damaged ones included, the youngest first.

    `refresh` blocks for about its budget, so it is called in a worker; `rows` is replaced as a whole,
    and may be read meanwhile.
    """

    def __init__(self, folder: Path, *, rest: float = _REST) -> None:
        """Runs that nobody works on rest for so many times as long as a look at all of them takes."""
        self.folder = folder
        self.rows: tuple[RunRow, ...] = ()
        self.problem = ""
        """Why the folder cannot be read."""
        self.is_complete = False
        """Whether every row has all it will have; else `refresh` has more to read."""
        self._rest = rest
        self._entries: dict[str, _Entry] = {}
        self._strangers: dict[str, int] = {}
        """Entries of the folder that are no runs, and when they changed last."""
        self._due = 0.0

    def refresh(self, shown: Iterable[str] = (), budget_seconds: float = 0.25) -> bool:
        """Take in what has changed, details of the runs in `shown` first. True if a row changed."""
        begin = time.perf_counter()
        deadline = begin + budget_seconds
        is_due = begin >= self._due
        changed = self._list() if is_due else False
        unread = [entry for entry in self._entries.values() if entry.seen is None]
        looked = [entry for entry in self._entries.values() if is_due or entry.is_active]
        changed |= self._look(unread, deadline)
        changed |= self._look([entry for entry in looked if entry.seen is not None], float("inf"))
        if is_due and not unread:
            now = time.perf_counter()
            self._due = now + min(_LONGEST_REST_SECONDS, self._rest * (now - begin))
        changed |= self._detail(shown, deadline)
        if changed:
            self.rows = self._sorted()
        self.is_complete = all(
            entry.seen is not None and entry.is_detailed for entry in self._entries.values()
        )
        return changed

    def row(self, name: str) -> RunRow | None:
        """The row of one run; None if there is none, or not yet."""
        entry = self._entries.get(name)
        return None if entry is None else entry.row

    def _list(self) -> bool:
        """Find new names and drop those that have gone."""
        try:
            found = dict(self._scan())
            self.problem = ""
        except FileNotFoundError:
            found, self.problem = {}, ""
        except OSError as error:
            self.problem = f"{self.folder} cannot be read: {error.strerror}."
            return False
        gone = self._entries.keys() - found.keys()
        for name in gone:
            del self._entries[name]
        for name, path in found.items():
            if name not in self._entries:
                self._entries[name] = _Entry(RunDirectory(path), os.path.join(path, RECORD_NAME))
        return bool(gone)

    def _scan(self) -> Iterator[tuple[str, Path]]:
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name in self._entries:
                    yield entry.name, self._entries[entry.name].directory.path
                elif not entry.name.startswith(".") and self._may_be_run(entry):
                    yield entry.name, self.folder / entry.name

    def _may_be_run(self, entry: os.DirEntry[str]) -> bool:
        if not entry.is_dir():
            return False
        changed = entry.stat().st_mtime_ns
        if self._strangers.get(entry.name) == changed:
            return False
        if is_run(self.folder / entry.name):
            return True
        self._strangers[entry.name] = changed
        return False

    def _look(self, entries: Sequence[_Entry], deadline: float) -> bool:
        """Read records that have changed, and the state of those that are at work."""
        changed = False
        for place, entry in enumerate(entries):
            if place and time.perf_counter() > deadline:
                break
            seen = _signature(entry.record_path)
            if seen == entry.seen and not entry.is_active:
                continue
            if seen != entry.seen:
                _read_record(entry)
                entry.seen = seen
            if entry.is_active:
                _read_state(entry)
                _read_details(entry)
            changed |= _make_row(entry)
        return changed

    def _detail(self, shown: Iterable[str], deadline: float) -> bool:
        """Read what `_look` leaves out, as far as there is time; for runs on the screen in any case."""
        changed = False
        first = [self._entries[name] for name in shown if name in self._entries]
        for entry in first:
            if not entry.is_detailed:
                _read_details(entry)
                changed |= _make_row(entry)
        for entry in self._entries.values():
            if entry.seen is not None and not entry.is_detailed:
                _read_details(entry)
                changed |= _make_row(entry)
                if time.perf_counter() > deadline:
                    break
        return changed

    def _sorted(self) -> tuple[RunRow, ...]:
        rows = [entry.row for entry in self._entries.values() if entry.row is not None]
        return tuple(sorted(rows, key=lambda row: (-row.created, row.name)))


def _signature(path: Path | str) -> Signature:
    try:
        found = os.stat(path)
    except OSError:
        return _NOTHING
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_record(entry: _Entry) -> None:
    try:
        record = entry.directory.read_record()
    except StokerError as error:
        entry.record, entry.problem = None, error.message
        return
    entry.record, entry.problem, entry.state = record, "", record.state
    entry.events_seen = None if entry.row is None or not entry.is_active else entry.events_seen


def _read_state(entry: _Entry) -> None:
    """Whether anybody is at work. A run that disappears meanwhile is damaged until it is gone."""
    try:
        entry.state = entry.directory.effective_state(entry.record)
    except StokerError as error:
        entry.record, entry.problem = None, error.message


def _read_details(entry: _Entry) -> None:
    """Model and method, loss, pace and money, where their files have changed."""
    record, directory = entry.record, entry.directory
    if record is None:
        return
    if entry.settings_of_attempt != record.attempt:
        entry.settings, entry.settings_of_attempt = read_settings(directory), record.attempt
    seen = _signature(directory.events_path)
    if seen != entry.events_seen:
        entry.latest, entry.events_seen = read_latest(directory.events_path), seen
        entry.usd = read_usd(directory.ledger_path)


def _make_row(entry: _Entry) -> bool:
    """Make the row again; whether it is another than before."""
    record = entry.record
    if record is None:
        row = damaged_row(entry.directory.path, entry.problem)
    else:
        latest = entry.latest
        row = make_row(entry.directory, record, entry.state, entry.settings, latest, entry.usd)
    changed = row != entry.row
    entry.row = row
    return changed
