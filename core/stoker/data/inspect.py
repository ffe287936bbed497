"""What is wrong with local data, found without a tokenizer and without torch.

`stoker check` looks at the beginning of files; `stoker check --data` reads them whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.data.bad_rows import BadRowPolicy, BadRows
from stoker.data.files import find_files
from stoker.data.formats import parse_row
from stoker.data.located import Located, bytes_of, text_of
from stoker.data.problems import DataError, RowError
from stoker.data.readers import TEXT_SUFFIXES, open_file

if TYPE_CHECKING:
    from stoker.recipe.schema import DataFormat

BEGINNING_BYTES = 4_000_000
"""Bytes of a source that are read where it is not read whole; of each further file, one row."""
_MOST_FILES = 1000
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Inspected:
    """What was read of one source, in which nothing is wrong that would keep it from being used."""

    num_files: int
    num_rows: int
    notes: list[str]
    """What will be left out."""


def inspect_source(
    path: Path, data_format: DataFormat, split: str | None, policy: BadRowPolicy, *, whole: bool
) -> Inspected:
    """Read a file or a folder as training would, as far as the columns and roles of its rows.

    What may be skipped is a note where only the beginning was read: its share is not known.

    Raises `DataError` with the number of bad rows and examples, or naming the line where a file is
    broken; `MissingRequirementError` where Parquet is to be read without pyarrow.
    """
    chosen = find_files(path, split)
    files = chosen.files
    bad = BadRows(str(path), policy)
    left = BEGINNING_BYTES
    for file in files if whole else files[:_MOST_FILES]:
        rows = iter(open_file(file)) if whole else _beginning(file, max(left, 1))
        num_rows, num_bytes = _read(file, rows, data_format, bad)
        left -= num_bytes
        if num_rows == 0 and (whole or file.suffix.lower() in TEXT_SUFFIXES):
            raise DataError(f"{file}: there is no row in it.")
    bad.check(beginning=not whole)
    return Inspected(len(files), bad.seen, [*chosen.warnings, *bad.notes()])


def _read(file: Path, rows: Iterator[Located], data_format: DataFormat, bad: BadRows) -> tuple[int, int]:
    """Numbers of rows and of bytes that were read; bad rows go to `bad`."""
    num_rows = num_bytes = 0
    for located in rows:
        num_rows, num_bytes = num_rows + 1, located.end
        bad.seen += 1
        try:
            parse_row(located.row, data_format)
        except RowError as error:
            bad.add(str(file), located.place, error)
    return num_rows, num_bytes


def _beginning(file: Path, num_bytes: int) -> Iterator[Located]:
    """The first rows of a file; of a Parquet file nothing but whether it is one.

    Ends with the first row that goes beyond `num_bytes`.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        _check_parquet(file)
    elif suffix == ".txt":
        yield from _beginning_of_text(file, num_bytes)
    else:
        for located in open_file(file):
            yield located
            if located.end >= num_bytes:
                return


def _beginning_of_text(file: Path, num_bytes: int) -> Iterator[Located]:
    with text_of(file) as lines:
        if text := lines.read(num_bytes):
            yield Located("row 1", {"text": text}, len(text))


def _check_parquet(file: Path) -> None:
    """Whether the file begins and ends as https://parquet.apache.org/docs/file-format says."""
    with bytes_of(file) as content:
        begins = content.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
        size = content.seek(0, 2)
        content.seek(max(0, size - len(_PARQUET_MAGIC)))
        if not begins or content.read() != _PARQUET_MAGIC:
            raise DataError(f"{file}: no Parquet file, or one that is cut off.")
