"""A log that grows, is cut or disappears while it is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from stoker.run.log_lines import MOST_CHARACTERS, Level, LevelReader, plain

_PRIME_BYTES = 4_096
_NEAR_BYTES = 512
_TAIL_BYTES = 65_536
# A carriage return that no line end follows: what comes next is written over this line.
_BREAK = re.compile(rb"\n|\r(?![\r\n])")
_OVER = ord("\r")


class FileLine(NamedTuple):
    """A line of one file."""

    start: int
    """Where it begins, in bytes."""
    text: str
    level: Level | None
    is_whole: bool
    """Whether its end was written, too."""


class LogFile:
    """Reads parts of a file, never all of it. A file that is not there is empty.

    It is opened for each read: a run has thousands of ranks, and a file may be replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes, as of the last `refresh`."""
        self.generation = 0
        """Grows when the file is not a continuation of what it was."""
        self._inode: int | None = None

    def refresh(self) -> bool:
        """Look again. Returns whether anything has changed."""
        try:
            status = self.path.stat()
            size, inode = status.st_size, status.st_ino
        except OSError:
            size, inode = 0, None
        known, self._inode = self._inode, inode
        if (known is not None and inode != known) or size < self.size:
            self.generation += 1
            self.size = size
            return True
        grown, self.size = size != self.size, size
        return grown

    def read(self, start: int, count: int) -> bytes:
        """So many bytes from `start`, fewer at the end; none where nothing can be read."""
        if count <= 0:
            return b""
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(start)
                return file.read(count) or b""
        except OSError:
            return b""

    def lines(self, start: int, end: int) -> list[FileLine]:
        """Lines that begin in `start <= offset < end`, the last one read to its end.

        Progress bars are folded: a line that is written over is left out. Only the first 64 KiB after
        `end` are read, more of the last line is not looked at.
        """
        before = max(0, start - _PRIME_BYTES)
        data = self._read_lines(before, end)
        reader, found = LevelReader(), list[FileLine]()
        # The file may begin in the middle of a line here, which is known only of its start.
        position = 0 if before == 0 else _next_start(data, 0)
        last = min(end - before, len(data))
        while position < last:
            match = _BREAK.search(data, position)
            stop, following = match.span() if match else (len(data), len(data))
            overwritten = match is not None and data[stop] == _OVER and following < len(data)
            if not overwritten:
                text = plain(data[position:stop])
                level = reader.level_of(text)
                if before + position >= start:
                    found.append(FileLine(before + position, text, level, match is not None))
            position = following
        return found

    def raw(self, start: int, end: int) -> bytes:
        """What decides whether lines that begin there are of interest: with what stands before them."""
        before = max(0, start - _PRIME_BYTES)
        return self.read(before, end - before + MOST_CHARACTERS)

    def _read_lines(self, start: int, end: int) -> bytes:
        """From `start` to the end of the line that is begun before `end`."""
        size = end - start
        data = self.read(start, size + _NEAR_BYTES)
        if len(data) < size + _NEAR_BYTES or _BREAK.search(data, max(0, size - 1), len(data) - 1):
            return data
        return data + self.read(start + len(data), _TAIL_BYTES)


def _next_start(data: bytes, position: int) -> int:
    match = _BREAK.search(data, position)
    return match.end() if match else len(data)
