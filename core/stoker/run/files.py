"""Small private files that are whole or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from stoker.errors import StorageError


def make_private_directory(path: Path) -> None:
    """Make a directory and its parents, readable by the owner only; existing ones stay as they are.

    Raises `StorageError`.
    """
    try:
        for ancestor in reversed((path, *path.parents)):
            if not ancestor.is_dir():
                ancestor.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _storage_error(path, error) from error


def replace_file(path: Path, text: str) -> None:
    """Write `path` so that readers see the old text or the new one, also after a power loss.

    Mode 0600. Raises `StorageError`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_and_sync(temporary, text)
        temporary.rename(path)
        _sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _storage_error(path, error) from error


def _write_and_sync(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}.",
        hint="Make room, or choose another folder with --run-dir.",
    )
