"""Small private files that are whole or not there at all."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from stoker.durable import sync_directory, write_durably
from stoker.errors import StorageError


def make_private_directory(path: Path) -> None:
    """Make a directory and its parents, readable by the owner only; existing ones stay as they are.

    What is new outlasts a power loss. Raises `StorageError`.
    """
    try:
        for ancestor in reversed((path, *path.parents)):
            if not ancestor.is_dir():
                ancestor.mkdir(mode=0o700, exist_ok=True)
                sync_directory(ancestor.parent)
    except OSError as error:
        raise _storage_error(path, error) from error


def sync_entries(path: Path) -> None:
    """Let the names in a directory outlast a power loss. Raises `StorageError`."""
    try:
        sync_directory(path)
    except OSError as error:
        raise _storage_error(path, error) from error


def replace_file(path: Path, text: str) -> None:
    """Write `path` so that readers see the old text or the new one, also after a power loss.

    Mode 0600. Raises `StorageError`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_durably(temporary, text.encode())
        temporary.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _storage_error(path, error) from error


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}.",
        hint="Make room, or choose another folder with --run-dir.",
    )
