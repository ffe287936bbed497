"""Reading and writing a recipe's file: a whole text or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeVar, overload

from stoker.errors import StorageError, UsageError

_T = TypeVar("_T")
_MOST_BYTES = 1_000_000


class _Raise:
    """Stands for: a missing file is an error."""


@overload
def read_file(path: Path) -> str: ...
@overload
def read_file(path: Path, missing: _T) -> str | _T: ...
def read_file(path: Path, missing: object = _Raise) -> object:
    """A recipe's text, or `missing` where there is no file.

    Raises `UsageError` for what is no file, no UTF-8, or larger than any recipe.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        if missing is not _Raise:
            return missing
        raise UsageError(f"{path}: no such file.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{path} is larger than any recipe.", hint="Is it a data file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.") from error


def write_file(path: Path, text: str) -> None:
    """Put a text in the place of a file; a crash leaves the old one. Links are followed.

    Raises `StorageError`.
    """
    target = path.resolve()
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, _mode(target))
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.", hint="Choose another file."
        ) from error


def _mode(path: Path) -> int:
    """Permissions of the file, or those a new one would get."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask
