"""Small files of a run that are replaced as a whole, read when they have changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class Watched(Generic[Value]):
    """A file's value as of the latest look."""

    def __init__(self, path: Path, parse: Callable[[Path], Value], missing: Value) -> None:
        """`parse` may raise `OSError`, or `ValueError` or `TypeError` for what is no such file."""
        self.path = path
        self.value = missing
        """Stays what it was while the file is damaged."""
        self.problem = ""
        """Why the file as it is cannot be read."""
        self._parse = parse
        self._missing = missing
        self._signature: tuple[int, ...] | None = None

    def look(self) -> bool:
        """Read the file if it has changed; whether it had."""
        signature = self._stat()
        if signature == self._signature:
            return False
        self._signature = signature
        try:
            self.value = self._missing if signature is None else self._parse(self.path)
            self.problem = ""
        except FileNotFoundError:
            self.value = self._missing
        except (OSError, ValueError, TypeError) as error:
            self.problem = f"{self.path.name} cannot be read: {error}"
        return True

    def _stat(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def parse_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `OSError`, `ValueError` or `TypeError`."""
    value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value
