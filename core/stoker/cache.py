"""Where stoker keeps what it can make again, and the lock that lets many processes share it.

Torch-free: plugins use it before a model exists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.1


def cache_directory() -> Path:
    """The user's cache folder: `$STOKER_CACHE`, else `$XDG_CACHE_HOME/stoker`, else `~/.cache/stoker`.

    Created, readable by its owner only, when it does not exist. Raises `StorageError` when it
    cannot be created.
    """
    directory = _configured_directory()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        from stoker.errors import StorageError

        raise StorageError(
            f"the cache folder {directory} cannot be created: {error.strerror or error}.",
            hint="Set STOKER_CACHE to a folder you may write to.",
        ) from error
    return directory


def _configured_directory() -> Path:
    if own := os.environ.get("STOKER_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "stoker"
    return Path.home() / ".cache" / "stoker"


@contextmanager
def file_lock(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path` while the block runs; the system frees it if we die.

    `waiting` is called again and again while another process holds the lock. It may report
    progress, or raise to give up.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 2)
            break
        except Timeout:
            if waiting is not None:
                waiting()
    try:
        yield
    finally:
        lock.release()
