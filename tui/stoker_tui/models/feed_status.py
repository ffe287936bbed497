"""What run.json says of a run, and whether somebody still works on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from stoker.errors import StokerError
from stoker.run.directory import RunDirectory
from stoker.run.record import ACTIVE_STATES, RunRecord, State, parse_record
from stoker_tui.models.feed_files import Watched

_STATE_SECONDS: Final = 1.0
"""Between two looks at whether somebody works on the run: they lock files."""


class RunStatus:
    """The record and the effective state."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.record: RunRecord | None = None
        """The latest that could be read."""
        self.state: State | None = None
        """`lost` where the record says active, and nobody works on the run."""
        self._file = Watched(directory.record_path, _parse, None)
        self._looked = float("-inf")

    @property
    def problem(self) -> str:
        """Why the record as it is cannot be read; empty where it can, or is not there."""
        return self._file.problem

    def look(self) -> bool:
        """Bring both up to date; whether one of them changed."""
        before = self.record, self.state
        self._file.look()
        self.record = self._file.value or self.record
        if self.record is not None:
            self.state = self._state(self.record)
        return (self.record, self.state) != before

    def _state(self, record: RunRecord) -> State:
        if record.state not in ACTIVE_STATES:
            return record.state
        now = time.monotonic()
        if self.state is not None and now - self._looked < _STATE_SECONDS:
            return record.state if self.state != "lost" else "lost"
        self._looked = now
        try:
            return self.directory.effective_state(record)
        except (StokerError, OSError):
            # Its directory is gone, or is on a file system without locks.
            return record.state


def _parse(path: Path) -> RunRecord | None:
    """Raises `OSError`, `ValueError` or `TypeError`."""
    return parse_record(path.read_text())
