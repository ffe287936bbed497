"""Changes to files that must not be lost, and how each is brought to the disk.

Everything that saving, retention and resuming do to files goes through here, one operation at a time,
so that a test can put a kill, an error or a slow disk ahead of any of them: see `observing`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Operation = Literal["mkdir", "create", "write", "sync", "sync directory", "rename", "unlink", "rmdir"]
Observer = Callable[[Operation, Path], None]

_observers: list[Observer] = []


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Call `observer(operation, path)` ahead of every operation; what it raises takes its place."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def about_to(operation: Operation, path: Path) -> None:
    """Tell the observers; for code that leaves the operation itself to a library."""
    for observer in _observers:
        observer(operation, path)


def make_directory(path: Path) -> None:
    """Make a directory of mode 0700 and its parents, unless it is there."""
    about_to("mkdir", path)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 and sync it."""
    about_to("create", path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        about_to("write", path)
        file.write(content)
        file.flush()
        about_to("sync", path)
        os.fsync(file.fileno())


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk."""
    about_to("sync", path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Bring a directory's entries to the disk."""
    about_to("sync directory", path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file or directory another name, at once."""
    about_to("rename", target)
    os.rename(source, target)


def remove_file(path: Path) -> None:
    """Delete a file."""
    about_to("unlink", path)
    path.unlink()


def remove_tree(path: Path) -> None:
    """Delete a directory with the files in it; nothing happens where there is none."""
    if not path.is_dir() or path.is_symlink():
        return
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(entry)
        else:
            remove_file(entry)
    about_to("rmdir", path)
    path.rmdir()
