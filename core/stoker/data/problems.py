"""What is wrong with data."""

from __future__ import annotations

from stoker.errors import ExitCode, StokerError


class DataError(StokerError):
    """A source that cannot be read, or rows that cannot be used; names file, row and column."""

    exit_code = ExitCode.USAGE


class RowError(Exception):
    """What is wrong with one row; the caller knows its file and number."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
