"""A row with its place in a file, and text files that say which line is not UTF-8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from stoker.data.problems import DataError


class Located(NamedTuple):
    """One row of a source."""

    place: str
    """`line 12` or `row 12`, counted from 1."""
    row: Any
    """What the row holds; a `RowError`, as a value, for one that cannot be read while others can."""
    end: int = 0
    """About how many bytes of the file have been read with it; 0 where there is no file."""


Tick = Callable[[], None]
"""Called now and then during long work; may raise to give up."""
_TICK_ROWS = 1024
LONGEST_ROW = 2**26
"""Bytes or characters of one row of a text file; what is longer is no row but a file of another kind."""
_MAGIC = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive", b"\x28\xb5\x2f\xfd": "zstandard"}


def check_not_packed(path: Path, start: bytes) -> None:
    """Raise `DataError` for a file that is compressed, whatever its name says."""
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{path}: is compressed ({kind}).", hint="Unpack it.")


def count(rows: Iterable[object], tick: Tick) -> int:
    """How many there are, by going through all of them."""
    number = 0
    for number, _ in enumerate(rows, start=1):
        if number % _TICK_ROWS == 0:
            tick()
    return number


@contextmanager
def bytes_of(path: Path) -> Iterator[IO[bytes]]:
    """A file open for reading bytes. Raises `DataError` where it cannot be opened or read."""
    try:
        with path.open("rb") as file:
            check_not_packed(path, file.peek(4))
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


@contextmanager
def text_of(path: Path, newline: str | None = "") -> Iterator[IO[str]]:
    """A file open as UTF-8 text without a byte order mark; `newline` as `open` has it.

    Raises `DataError`, naming the line where the block comes across one that is not UTF-8.
    """
    with bytes_of(path) as file, TextIOWrapper(file, "utf-8-sig", newline=newline) as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            line = _first_bad_line(path)
            raise DataError(
                f"{path}, line {line}: not UTF-8: {error.reason}.", hint="Save the file as UTF-8."
            ) from error


def _first_bad_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
