"""The machine itself: Python, cores, memory, disks, shared memory, open files."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from stoker.cache import cache_directory
from stoker.doctor.finding import Finding, Status, size_text
from stoker.doctor.limits import core_limit, memory_limit_bytes
from stoker.errors import StorageError

RUNS_FOLDER = Path("runs")
"""Where runs go unless a recipe says otherwise."""
SHARED_MEMORY = Path("/dev/shm")

_LOW_DISK_BYTES = 10 * 2**30
_LOW_MEMORY_BYTES = 2 * 2**30
_LOW_SHARED_MEMORY_BYTES = 2**30
_LOW_OPEN_FILES = 1024


class Space(NamedTuple):
    """Size of a file system, and what is free of it for us."""

    total_bytes: int
    free_bytes: int


def examine_system() -> list[Finding]:
    """Look at this machine. The cache folder is created if it does not exist."""
    memory = psutil.virtual_memory()
    findings = [
        _ok("python", f"{platform.python_version()} in {short_path(Path(sys.prefix))}"),
        _ok("system", _system_text()),
        _ok("cores", cores_text(_usable_cores(), core_limit())),
        memory_finding(Space(memory.total, memory.available), memory_limit_bytes()),
        _cache_finding(),
        _disk_finding("runs", RUNS_FOLDER),
        open_files_finding(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]
    if SHARED_MEMORY.is_dir():
        findings.append(shared_memory_finding(_space(SHARED_MEMORY)))
    return findings


def cores_text(usable: int, limit: float | None) -> str:
    """Cores that we may run on, and how much of their time."""
    if limit is None or limit >= usable:
        return str(usable)
    return f"{usable}, of which a control group grants the time of {limit:.1f}"


def memory_finding(space: Space, limit_bytes: int | None) -> Finding:
    """A warning where there is too little memory to load a model of any size."""
    found = f"{size_text(space.free_bytes)} of {size_text(space.total_bytes)} available"
    if limit_bytes is not None and limit_bytes < space.total_bytes:
        found += f"; a control group grants {size_text(limit_bytes)}"
    if min(space.free_bytes, limit_bytes or space.free_bytes) >= _LOW_MEMORY_BYTES:
        return _ok("memory", found)
    hint = "End what uses it; in a container: docker run --memory 32g"
    return _finding("memory", "warning", found, hint)


def shared_memory_finding(space: Space) -> Finding:
    """A warning where NCCL and data workers would fail for want of shared memory."""
    found = f"{size_text(space.free_bytes)} of {size_text(space.total_bytes)} free in {SHARED_MEMORY}"
    if space.total_bytes < _LOW_SHARED_MEMORY_BYTES:
        hint = "Start the container with: docker run --shm-size 8g"
        return _finding("shared memory", "warning", found, hint)
    if space.free_bytes < _LOW_SHARED_MEMORY_BYTES:
        hint = f"Remove what ended processes left there: ls -l {SHARED_MEMORY}"
        return _finding("shared memory", "warning", found, hint)
    return _ok("shared memory", found)


def open_files_finding(limit: int) -> Finding:
    """A warning where shards, workers and connections together exceed the limit."""
    if limit == resource.RLIM_INFINITY:
        return _ok("open files", "no limit")
    if limit >= _LOW_OPEN_FILES:
        return _ok("open files", f"at most {limit}")
    return _finding("open files", "warning", f"at most {limit}", "ulimit -n 65536")


def disk_finding(name: str, place: str, space: Space) -> Finding:
    """A warning where a few checkpoints would fill the disk."""
    found = f"{size_text(space.free_bytes)} of {size_text(space.total_bytes)} free in {place}"
    if space.free_bytes >= _LOW_DISK_BYTES:
        return _ok(name, found)
    move = "set STOKER_CACHE" if name == "cache" else "set run.directory"
    return _finding(name, "warning", found, f"Free some, or {move} to a folder on a larger disk.")


def short_path(path: Path) -> str:
    """A path for people: their home folder is `~`."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)


def _system_text() -> str:
    release = platform.release().partition("-")[0]
    parts = [f"{platform.system()} {release}", platform.machine(), " ".join(platform.libc_ver())]
    with suppress(OSError):
        parts.insert(0, platform.freedesktop_os_release()["PRETTY_NAME"])
    return ", ".join(part for part in parts if part.strip())


def _cache_finding() -> Finding:
    hint = "Set STOKER_CACHE to a folder you may write to."
    try:
        folder = cache_directory()
    except StorageError as error:
        return _finding("cache", "error", error.message, error.hint)
    except RuntimeError:
        return _finding("cache", "error", "there is no home folder", hint)
    return _disk_finding("cache", folder, hint=hint)


def _disk_finding(name: str, folder: Path, hint: str = "") -> Finding:
    place = short_path(folder) if folder.is_absolute() else f"./{folder}"
    # What does not exist yet will be made on the disk of the folder above it.
    existing = next(each for each in [folder, *folder.absolute().parents] if each.exists())
    if not os.access(existing, os.W_OK):
        change = hint or "Call stoker in a folder you may write to, or set run.directory to one."
        status: Status = "error" if name == "cache" else "warning"
        return _finding(name, status, f"{place} cannot be written", change)
    return disk_finding(name, place, _space(existing))


def _space(path: Path) -> Space:
    usage = shutil.disk_usage(path)
    return Space(usage.total, usage.free)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ok(name: str, found: str) -> Finding:
    return _finding(name, "ok", found)


def _finding(name: str, status: Status, found: str, hint: str = "") -> Finding:
    return Finding("system", name, status, found, hint)
