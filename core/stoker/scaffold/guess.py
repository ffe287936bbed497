"""Which format data has, guessed from the columns of its first row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.data.files import find_files
from stoker.data.formats import COLUMNS
from stoker.data.problems import DataError
from stoker.data.readers import open_file
from stoker.errors import MissingRequirementError, UsageError
from stoker.recipe.words import shorten

if TYPE_CHECKING:
    from stoker.recipe.schema import DataFormat

_MOST_COLUMNS = 8


def guess_format(path: Path, preferred: DataFormat | None = None) -> DataFormat:
    """The format of a file or a folder; `preferred` if several would do and it is one of them.

    Raises `UsageError`, listing the formats, if none would do or one cannot be chosen.
    """
    file = _first_file(path)
    if file.suffix.lower() == ".txt":
        return "text"
    row = _first_row(file)
    fitting = [name for name, columns in COLUMNS.items() if all(column in row for column in columns)]
    if preferred in fitting:
        return preferred
    if len(fitting) != 1:
        what = f"fit {' and '.join(fitting)}" if fitting else "fit no format"
        raise UsageError(
            f"{file}: the columns of its first row ({_listed(row)}) {what}.",
            hint=f"State one with --format. {formats_and_columns()}",
        )
    return fitting[0]


def formats_and_columns() -> str:
    """What rows of each format have, in a sentence."""
    formats = ", ".join(f"{name} ({' and '.join(needed)})" for name, needed in COLUMNS.items())
    return f"The formats and their columns: {formats}."


def _first_file(path: Path) -> Path:
    try:
        return find_files(path, None).files[0]
    except DataError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _first_row(file: Path) -> Mapping[str, Any]:
    try:
        located = next(iter(open_file(file)), None)
    except (DataError, MissingRequirementError) as error:
        hint = f"{error.hint} Or state the format with --format."
        raise UsageError(error.message, hint=hint.strip()) from error
    if located is None:
        raise UsageError(f"{file}: there is no row in it, so its format cannot be guessed.")
    if not isinstance(located.row, Mapping):
        hint = f"Rows are tables of columns. {formats_and_columns()}"
        raise UsageError(f"{file}, {located.place}: no row whose format could be guessed.", hint=hint)
    return located.row


def _listed(names: Iterable[str]) -> str:
    shown = [shorten(str(name)) for name in names]
    return ", ".join(shown[:_MOST_COLUMNS]) + (", ..." if len(shown) > _MOST_COLUMNS else "")
