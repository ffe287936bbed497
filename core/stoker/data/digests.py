"""Content digests of data files, remembered while a file does not change."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from stoker.cache import cache_directory
from stoker.data.problems import DataError

_CHUNK_BYTES = 8 * 2**20
_SETTLED_SECONDS = 2.0


def file_digest(path: Path, tick: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a file's content, in hex.

    Remembered in the cache by inode, size and time of change, so that starting again on a large
    data set does not read it all. `tick` is called for every few MiB and may raise to give up.
    """
    try:
        state = file_state(path)
        # A file this young may change again within the clock's resolution, unnoticed by its times.
        settled = time.time() - max(state[3:]) / 1e9 > _SETTLED_SECONDS
        memo = cache_directory() / "digests" / f"{sha256(os.fsencode(path.absolute())).hexdigest()}.json"
        if known := _recall(memo, state):
            return known
        digest = _read_digest(path, tick)
        if settled:
            _remember(memo, state, digest)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return digest


def file_state(path: Path) -> list[int]:
    """Device, inode, bytes, and times of the last changes in nanoseconds. Raises `OSError`."""
    stat = path.stat()
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read_digest(path: Path, tick: Callable[[], None]) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            tick()
    return digest.hexdigest()


def _recall(memo: Path, state: list[int]) -> str:
    try:
        entry = json.loads(memo.read_bytes())
        return str(entry["sha256"]) if entry["state"] == state else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _remember(memo: Path, state: list[int], digest: str) -> None:
    # It is there to save time: a cache that is full or read-only is no reason to stop.
    with suppress(OSError):
        memo.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = memo.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"state": state, "sha256": digest}))
        temporary.replace(memo)
