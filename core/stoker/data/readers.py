"""How each kind of data file is read: row by row, exactly as it is written.

No types are inferred. Readers that infer them turn the answer "2024-01-01" into a point in time,
"007" into 7 and "NA" into nothing.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from stoker.data.problems import DataError


class Rows(Protocol):
    """Rows that can be counted before they are read."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Pairs of where a row is (`line 12`, `row 12`) and the row."""
        ...


class ListedRows:
    """Rows of a sequence."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for number, row in enumerate(self._rows, start=1):
            yield f"row {number}", row


class _JsonLines:
    """One JSON object a line; empty lines are skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._num_rows = sum(1 for line in file if line.strip())

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"line {number}", self._parse(line, number)

    def _parse(self, line: bytes, number: int) -> Any:
        where = f"{self._path}, line {number}"
        try:
            return json.loads(line.decode("utf-8-sig"))
        except json.JSONDecodeError as error:
            raise DataError(f"{where}, column {error.colno}: {error.msg}.") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8: {error.reason}.") from error


class _Csv:
    """A header line, then rows; every cell is a string."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self._path = path
        self._delimiter = delimiter
        self._num_rows = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._num_rows

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        # The default of 128 KiB is less than a long document.
        csv.field_size_limit(sys.maxsize)
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=self._delimiter, strict=True)
            try:
                for number, row in enumerate(reader, start=1):
                    self._check_width(row, number)
                    yield f"row {number}", row
            except csv.Error as error:
                raise DataError(f"{self._path}, line {reader.line_num}: {error}.") from error
            except UnicodeDecodeError as error:
                raise DataError(f"{self._path}: not UTF-8: {error.reason}.") from error

    def _check_width(self, row: dict[Any, Any], number: int) -> None:
        # DictReader files surplus cells under None, and gives missing ones the value None.
        if None in row or None in row.values():
            raise DataError(f"{self._path}, row {number}: not as many cells as the header has.")


class _Parquet:
    """Read in batches, straight from the file."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self._file = pyarrow.parquet.ParquetFile(path)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        number = 0
        for batch in self._file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def _read_json(path: Path) -> Rows:
    """A list of objects; or, as many files of this suffix are, one object a line."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("["):
        return _JsonLines(path)
    try:
        return ListedRows(json.loads(text))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}.") from error


def _read_text(path: Path) -> Rows:
    """A file is one document: its line breaks are part of it."""
    return ListedRows([{"text": path.read_text(encoding="utf-8-sig")}])


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _JsonLines,
    ".ndjson": _JsonLines,
    ".json": _read_json,
    ".parquet": _Parquet,
    ".csv": lambda path: _Csv(path, ","),
    ".tsv": lambda path: _Csv(path, "\t"),
    ".txt": _read_text,
}
DATA_SUFFIXES = tuple(_READERS)


def read_file(path: Path) -> Rows:
    """The rows of one data file, whose suffix must be one of `DATA_SUFFIXES`.

    Raises `DataError` naming the file and, where there is one, the line; some errors only show while
    rows are read.
    """
    from pyarrow import ArrowException

    try:
        rows = _READERS[path.suffix.lower()](path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error.reason} at byte {error.start}.") from error
    except (OSError, ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error
    if len(rows) == 0:
        raise DataError(f"{path}: there is no row in it.")
    return rows
