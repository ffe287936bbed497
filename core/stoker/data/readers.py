"""How each kind of data file is read: row by row, exactly as it is written.

No types are inferred. Readers that infer them turn the answer "2024-01-01" into a point in time,
"007" into 7 and "NA" into nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from stoker.data.formats import RowError
from stoker.data.json_rows import JsonLines, open_json
from stoker.data.located import LONGEST_ROW, Located, Tick, count, text_of
from stoker.data.problems import DataError
from stoker.errors import MissingRequirementError


class Rows(Protocol):
    """Rows that can be counted before they are read."""

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        ...

    def __iter__(self) -> Iterator[Located]: ...


class ListedRows:
    """Rows of a sequence."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Located]:
        for number, row in enumerate(self._rows, start=1):
            yield Located(f"row {number}", row)


class _Csv:
    """A header line, then rows; every cell is a string."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self._path = path
        self._delimiter = delimiter

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        return count(self, tick)

    def __iter__(self) -> Iterator[Located]:
        # The default of 128 KiB is less than a long document.
        csv.field_size_limit(LONGEST_ROW)
        with text_of(self._path) as file:
            lines = _CountedLines(file)
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            try:
                header = self._header(reader)
                # Blank lines are none of the rows.
                rows = (cells for cells in reader if cells)
                for number, cells in enumerate(rows, start=1):
                    yield Located(f"row {number}", _table(header, cells), lines.num_bytes)
            except csv.Error as error:
                raise DataError(f"{self._path}, line {reader.line_num}: {error}.") from error

    def _header(self, reader: Iterator[list[str]]) -> list[str]:
        header = next(reader, [])
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise DataError(f"{self._path}, line 1: two columns are called {twice[0]!r}.")
        return header


class _CountedLines:
    """Passes lines on and counts their bytes."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.num_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.num_bytes += len(line.encode())
            yield line


def _table(header: Sequence[str], cells: Sequence[str]) -> Any:
    if len(cells) == len(header):
        return dict(zip(header, cells, strict=True))
    return RowError(
        f"{len(cells)} cells where the header has {len(header)}",
        "Cells that hold the delimiter or a line end need quotes.",
    )


class _Parquet:
    """Read in batches, straight from the file."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise MissingRequirementError(
                f"{path}: reading Parquet needs pyarrow, which is not installed.",
                hint="pip install 'stoker[train]'",
            ) from error

        self._path = path
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read: {error}.") from error

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        return int(self._file.metadata.num_rows)

    def __iter__(self) -> Iterator[Located]:
        import pyarrow as pa

        number = 0
        try:
            for batch in self._file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield Located(f"row {number}", row)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._path}, after row {number}: cannot be read: {error}.") from error


class _TextFile:
    """A file is one document: its line breaks are part of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        with text_of(self._path) as file:
            return int(file.read(1) != "")

    def __iter__(self) -> Iterator[Located]:
        with text_of(self._path, newline=None) as file:
            if text := file.read():
                yield Located("row 1", {"text": text}, len(text))


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".json": open_json,
    ".parquet": _Parquet,
    ".csv": lambda path: _Csv(path, ","),
    ".tsv": lambda path: _Csv(path, "\t"),
    ".txt": _TextFile,
}
DATA_SUFFIXES = tuple(_READERS)
TEXT_SUFFIXES = tuple(suffix for suffix in DATA_SUFFIXES if suffix != ".parquet")


def open_file(path: Path) -> Rows:
    """The rows of one data file, whose suffix must be one of `DATA_SUFFIXES`.

    Raises `DataError` naming the file and, where there is one, the line; most errors only show while
    rows are read. Raises `MissingRequirementError` where the library for a format is missing.
    """
    return _READERS[path.suffix.lower()](path)
