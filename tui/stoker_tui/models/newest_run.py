"""The run that is shown when none was chosen."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.errors import StokerError
from stoker.run.directory import RECORD_NAME, RunDirectory


def newest_run(folder: Path) -> RunDirectory | None:
    """The run whose record was changed last; None where there is no run that can be read."""
    for _, path in sorted(_records(folder), reverse=True):
        directory = RunDirectory(Path(path))
        try:
            directory.read_record()
        except StokerError:
            continue
        return directory
    return None


def _records(folder: Path) -> list[tuple[float, str]]:
    found = []
    try:
        with os.scandir(folder) as entries:
            paths = [entry.path for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
    for path in paths:
        try:
            found.append((os.stat(os.path.join(path, RECORD_NAME)).st_mtime, path))
        except OSError:
            continue
    return found
