"""The lease of a run directory: whoever holds it runs it, and the system frees it when they die.

A lock on a file, not a file: nothing stale is left behind by a kill or a power loss. Supervisor and
ranks share one lock (they inherit the open file), so a run is free only when all of them are gone.

Some network file systems keep locks to one machine. For lookers-on at others the holder touches the
file every few seconds.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import StorageError, UsageError
from stoker.run.host import boot_id, host_name

RENEWAL_SECONDS = 5.0
"""Between two touches."""
STALE_SECONDS = 60.0
"""After so long without one, by clocks that may differ, a run of another machine looks dead."""
WATCH_SECONDS = 3 * RENEWAL_SECONDS
"""Who wants to act on that watches for so long, whatever the clocks say."""
_TRIES = 10
_SECONDS_BETWEEN_TRIES = 0.05
_SECONDS_BETWEEN_LOOKS = 0.1


@dataclass
class Lease:
    """A held lease. `descriptor` may be handed to a child, which then holds it too."""

    path: Path
    descriptor: int
    renewed: float = -math.inf
    """When it was touched last, in seconds of the monotonic clock."""

    @classmethod
    def take(cls, path: Path) -> Lease:
        """Take the lease at `path`, the lease file of a run directory.

        Raises `UsageError` naming the holder if there is one, `StorageError` if nothing can be written.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
        if not _lock_patiently(descriptor):
            os.close(descriptor)
            raise UsageError(
                f"run {path.parent.name!r} is already running: {describe_holder(path)}.",
                hint=f"Look at it with: stoker watch {path.parent.name}",
            )
        lease = cls(path, descriptor)
        lease.sign()
        return lease

    @classmethod
    def inherit(cls, path: Path, descriptor: int) -> Lease:
        """The lease that the parent process took and handed over."""
        os.set_inheritable(descriptor, False)
        lease = cls(path, descriptor)
        lease.sign()
        return lease

    def sign(self) -> None:
        """Write this process's name into the file, for messages."""
        holder = {"v": 1, "host": host_name(), "pid": os.getpid(), "boot_id": boot_id()}
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(holder).encode(), 0)

    def renew(self) -> None:
        """Touch the file, if it is time."""
        now = time.monotonic()
        if now - self.renewed >= RENEWAL_SECONDS:
            self.renewed = now
            with suppress(OSError):
                os.utime(self.descriptor)

    def release(self) -> None:
        """Close this process's share; the lease is free when every holder has closed theirs."""
        os.close(self.descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds the lease at `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def was_renewed_lately(paths: Sequence[Path]) -> bool:
    """Whether one of these files has been touched within the last minute, by this machine's clock."""
    return any(abs(time.time() - touched / 1e9) < STALE_SECONDS for touched in _touches(paths))


def is_renewed(paths: Sequence[Path], seconds: float) -> bool:
    """Watch whether one of these files is touched within so many seconds."""
    before, deadline = _touches(paths), time.monotonic() + seconds
    while _touches(paths) == before:
        if time.monotonic() > deadline:
            return False
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return True


def _touches(paths: Sequence[Path]) -> list[int]:
    """When each was touched last, in nanoseconds by its file system."""
    touches = []
    for path in paths:
        with suppress(OSError):
            # Network file systems ask their server at an open; what `stat` says may be from a cache.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            touches.append(os.fstat(descriptor).st_mtime_ns)
            os.close(descriptor)
    return touches


def read_holder(path: Path) -> dict[str, Any]:
    """Who signed the lease last; empty if nobody did."""
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def describe_holder(path: Path) -> str:
    """`process 123 on host`, for messages."""
    holder = read_holder(path)
    if not holder:
        return "by another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"


def _lock_patiently(descriptor: int) -> bool:
    """Try for half a second: `is_held` of a mere onlooker takes the lock for an instant."""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_SECONDS_BETWEEN_TRIES)
        if _lock(descriptor, fcntl.LOCK_EX):
            return True
    return False


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise StorageError(
            f"the file system of the run directory cannot lock files: {error.strerror}.",
            hint="Choose a folder on another disk with --run-dir.",
        ) from error
    return True
