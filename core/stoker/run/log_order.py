"""In which order the logs of several ranks were written, as far as that is known."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final, NamedTuple

REMARK: Final = -1
"""`log` of a piece that is no part of a log, but a remark between them; it takes one byte."""


class Piece(NamedTuple):
    """Bytes of one log that came together."""

    log: int
    """Which log, or `REMARK`."""
    start: int
    """In bytes of that log; of a remark, its number."""
    end: int


class Mark(NamedTuple):
    """How far an `Order` had come."""

    num_pieces: int
    last: Piece | None
    size: int
    known: tuple[int, ...]
    counts: tuple[int, ...]


class Order:
    """Pieces one after the other, as if they were one text.

    A position in that text is a byte of a piece. Pieces are appended; the latest can be taken back.
    """

    def __init__(self, num_logs: int) -> None:
        self.pieces: list[Piece] = []
        self.starts = array("Q")
        """Position at which each piece begins."""
        self.size = 0
        """Position after the last piece."""
        self.known = [0] * num_logs
        """How much of each log has its place."""
        self._sizes = [array("Q") for _ in range(num_logs)]
        self._times = [array("d") for _ in range(num_logs)]

    def remark(self, number: int) -> None:
        """A remark comes here."""
        self._append(Piece(REMARK, number, number + 1))

    def arrive(self, t: float | None, sizes: Mapping[int, int]) -> None:
        """At `t`, in Unix seconds, logs had grown to these sizes; which of them first is not known.

        None: nobody knows when.
        """
        for log, size in sizes.items():
            if size > self.known[log]:
                self._sizes[log].append(size)
                self._times[log].append(math.nan if t is None else t)
                self._place(log, size)

    def time_of(self, log: int, start: int) -> float | None:
        """When the line that begins at this byte of a log came, to the second; None if not known."""
        sizes = self._sizes[log]
        at = bisect_right(sizes, start)
        if at == len(sizes) or math.isnan(self._times[log][at]):
            return None
        return self._times[log][at]

    def between(self, low: int, high: int) -> list[Piece]:
        """What lies at positions `low <= position < high`, pieces cut to that."""
        found = []
        for index in range(max(0, bisect_right(self.starts, low) - 1), len(self.pieces)):
            begin = self.starts[index]
            if begin >= high:
                break
            log, start, end = self.pieces[index]
            first, last = start + max(0, low - begin), min(end, start + high - begin)
            if first < last:
                found.append(Piece(log, first, last))
        return found

    def mark(self) -> Mark:
        """What there is, for `rewind`."""
        last = self.pieces[-1] if self.pieces else None
        counts = tuple(map(len, self._sizes))
        return Mark(len(self.pieces), last, self.size, tuple(self.known), counts)

    def rewind(self, mark: Mark) -> None:
        """Forget what came after the mark was made."""
        del self.pieces[mark.num_pieces :]
        del self.starts[mark.num_pieces :]
        if mark.last is not None:
            self.pieces[-1] = mark.last
        self.size = mark.size
        self.known = list(mark.known)
        for sizes, times, count in zip(self._sizes, self._times, mark.counts, strict=True):
            del sizes[count:]
            del times[count:]

    def copy(self) -> Order:
        """As it is now; later pieces do not come to the copy."""
        copied = Order(0)
        copied.pieces, copied.starts, copied.size = self.pieces[:], self.starts[:], self.size
        copied.known = self.known[:]
        copied._sizes = [sizes[:] for sizes in self._sizes]
        copied._times = [times[:] for times in self._times]
        return copied

    def _place(self, log: int, size: int) -> None:
        start, self.known[log] = self.known[log], size
        if self.pieces and self.pieces[-1].log == log:
            self.pieces[-1] = self.pieces[-1]._replace(end=size)
            self.size += size - start
        else:
            self._append(Piece(log, start, size))

    def _append(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.starts.append(self.size)
        self.size += piece.end - piece.start
