"""Requests to a running run: small files in its `control` folder, picked up between two steps."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from stoker.run.directory import RunDirectory
from stoker.run.files import make_private_directory, replace_file

RequestKind = Literal["checkpoint", "stop"]

_SETTLED_SECONDS = 0.1
"""A folder changed longer ago than this shows any later change in its modification time."""


@dataclass(frozen=True)
class Request:
    """What someone asks of a run."""

    kind: RequestKind
    time: float
    """Unix seconds."""
    fields: dict[str, Any] = field(default_factory=dict)


def request(directory: RunDirectory, kind: RequestKind, **fields: Any) -> Path:
    """Ask a run for something. Returns the file that disappears when the run has taken note.

    Raises `StorageError`.
    """
    make_private_directory(directory.control_path)
    path = directory.control_path / f"{time.time_ns()}-{os.getpid()}-{kind}.json"
    replace_file(path, json.dumps({"v": 1, "kind": kind, "time": time.time(), **fields}))
    return path


def pending(directory: RunDirectory) -> list[Request]:
    """Requests that nobody has taken note of yet, oldest first; they stay."""
    found = (_read(path) for path in _request_files(directory.control_path))
    return [request for request in found if request is not None]


def clear(directory: RunDirectory) -> None:
    """Drop requests, for example those made to an earlier attempt that died."""
    for path in _request_files(directory.control_path):
        path.unlink(missing_ok=True)


class Inbox:
    """The run's side. Cheap to poll: one `stat` as long as nothing changes."""

    def __init__(self, directory: RunDirectory) -> None:
        self.path = directory.control_path
        self._seen_ns = 0

    def poll(self) -> list[Request]:
        """New requests, oldest first; each is returned once."""
        try:
            changed_ns = self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if changed_ns == self._seen_ns:
            return []
        found = []
        for path in _request_files(self.path):
            found.append(_read(path))
            path.unlink(missing_ok=True)
        # File systems stamp times in ticks: a change in the same tick as the last one looks like none.
        settled = time.time_ns() - changed_ns > _SETTLED_SECONDS * 1e9
        self._seen_ns = changed_ns if settled and not found else 0
        return [request for request in found if request is not None]


def _request_files(folder: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and name[0] != ".")
    except FileNotFoundError:
        return []
    return [folder / name for name in names]


def _read(path: Path) -> Request | None:
    """None for a file that is gone meanwhile or that is no request: nothing a run should end for."""
    try:
        values = json.loads(path.read_text())
        kind, moment = values.pop("kind"), float(values.pop("time"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if kind not in get_args(RequestKind):
        return None
    return Request(cast(RequestKind, kind), moment, values)
