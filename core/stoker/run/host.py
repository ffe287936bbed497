"""Which machine this is, since when, and whether a process on it is alive."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def host_name() -> str:
    """This machine's name."""
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Changes with every start of this machine, so that a process id of before is never trusted."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        # Not Linux: the time of the start serves as well.
        import psutil

        return str(int(psutil.boot_time()))


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs on this machine; one that only waits to be reaped does not."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # The name in parentheses may itself hold any character, so count from its end.
    return text.rpartition(")")[2].split()[0] == "Z"
