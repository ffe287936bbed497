"""What a disk may hold after a power cut, modelled from the operations that led there.

A file's content is safe once the file has been synced, a directory's entries once the directory has
been: the least that POSIX promises. What is not safe may be there or not, independently.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Entries = dict[str, int]
"""Inode of each name in a directory."""


@dataclass
class Disk:
    """Observes operations below `root` and knows at each of them what is safe.

    Give `observe` to `stoker.durable.observing`.
    """

    root: Path
    kill_at: int | None = None
    """Which operation, from 0, is not done any more; it raises `Killed`."""
    log: list[tuple[str, Path]] = field(default_factory=list)
    _safe_content: dict[int, bytes] = field(default_factory=dict)
    _safe_entries: dict[int, Entries] = field(default_factory=dict)
    _content: dict[int, bytes] = field(default_factory=dict)
    _entries: dict[int, Entries] = field(default_factory=dict)
    _last: tuple[str, Path] | None = None
    _held: dict[int, int] = field(default_factory=dict)
    """An open descriptor for each inode, so that its number is not given to another file."""

    def observe(self, operation: str, path: Path) -> None:
        """Take note of what the operation before this one has done."""
        self._look()
        if self.kill_at == len(self.log):
            raise Killed(operation, path)
        self.log.append((operation, path))
        self._last = (operation, path)

    def release(self) -> None:
        """After the last operation."""
        self._look()
        self._last = None
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _look(self) -> None:
        self._content, self._entries = {}, {}
        for path in (self.root, *self.root.rglob("*")):
            inode = path.stat().st_ino
            if inode not in self._held:
                self._held[inode] = os.open(path, os.O_RDONLY)
            if path.is_dir():
                names = {each.name: each.stat().st_ino for each in path.iterdir()}
                self._entries[inode] = names
            else:
                self._content[inode] = path.read_bytes()
        if self._last is None or not self._last[1].exists():
            return
        operation, path = self._last
        inode = path.stat().st_ino
        if operation == "sync":
            self._safe_content[inode] = self._content[inode]
        elif operation == "sync directory":
            self._safe_entries[inode] = self._entries[inode]

    def images(self, folder: Path) -> Iterator[Path]:
        """Every state that may be found after a power cut now, each written to a new directory."""
        root = self.root.stat().st_ino
        changed = [i for i in self._entries if self._entries[i] != self._safe_entries.get(i, {})]
        for number, (lost, keeps_half) in enumerate(
            itertools.product(_subsets(changed[:4]), (False, True))
        ):
            image = folder / f"image-{number}"
            self._write(root, image, lost, keeps_half)
            yield image

    def _write(self, inode: int, target: Path, lost: frozenset[int], keeps_half: bool) -> None:
        target.mkdir(parents=True)
        safe = self._safe_entries.get(inode, {})
        entries = safe if inode in lost else self._entries.get(inode, safe)
        for name, child in entries.items():
            if child in self._entries or child in self._safe_entries:
                self._write(child, target / name, lost, keeps_half)
                continue
            content = self._content.get(child, b"")
            if self._safe_content.get(child) != content:
                half = content[: len(content) // 2] if keeps_half else b""
                content = self._safe_content.get(child, half)
            (target / name).write_bytes(content)


class Killed(BaseException):
    """No handler of the code under test may catch it, as none would run after a SIGKILL."""


def _subsets(values: list[int]) -> Iterator[frozenset[int]]:
    for size in range(len(values) + 1):
        for chosen in itertools.combinations(values, size):
            yield frozenset(chosen)
