"""Logs of one attempt as one text, in the order in which they were written as far as that is known.

The text is cut into chunks of bytes, and a chunk's lines are read when somebody looks at them: a log of
a gigabyte is opened at its end as fast as an empty one.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from stoker.run.events import Event, EventTail
from stoker.run.log_clock import ARRIVALS_NAME
from stoker.run.log_file import LogFile
from stoker.run.log_lines import Level
from stoker.run.log_order import REMARK, Order, Piece
from stoker.run.log_remarks import ORDER, Remark

CHUNK_BYTES: Final = 2**17


class Log(NamedTuple):
    """One file of a run that holds lines for people."""

    name: str
    """`r3`, `trackers`, `supervisor`, `r3 stack`."""
    path: Path
    rank: int | None = None
    """Whose standard output and error it is; None for other files."""


class TextLine(NamedTuple):
    """A line of the text."""

    log: int
    """Index of its log, or `REMARK`."""
    start: int
    """Where it begins in its log, in bytes; of a remark, its number."""
    text: str
    level: Level | None
    t: float | None
    """When it came, to the second; None if not known."""
    is_whole: bool = True
    """Whether its end was written, too."""
    kind: str = ""
    """Of a remark: the event's kind, or `ORDER`."""


class LogText:
    """Lines of logs, and remarks between them.

    When lines of ranks came is told by the supervisor's notes; without those, and for other files, the
    order is known only of what comes while we look.
    """

    def __init__(
        self, logs: Sequence[Log], arrivals: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """`arrivals`: the supervisor's notes, see `LogClock`. `clock` gives Unix seconds."""
        self.logs = tuple(logs)
        self.files = [LogFile(log.path) for log in self.logs]
        self.remarks: list[Remark] = []
        self._told: list[Remark] = []
        """All that was told, to be placed anew where the text begins anew."""
        self.revision = 0
        """Grows when the text changes."""
        self.generation = 0
        """Grows when positions of an earlier generation mean nothing any more."""
        self._arrivals = arrivals
        self._clock = clock
        self._begin()

    def refresh(self, remarks: Iterable[Remark] = ()) -> bool:
        """Take in what has been written, and new remarks, oldest first. Returns whether it changed."""
        generations = [file.generation for file in self.files]
        changed = sum([file.refresh() for file in self.files]) > 0
        arrivals_exist = self._arrivals is not None and self._arrivals.exists()
        if generations != [file.generation for file in self.files] or (
            arrivals_exist and not self.is_timed and self._is_open
        ):
            remarks = [*self._told, *remarks]
            self._told.clear()
            self.generation += 1
            self._begin()
            changed = True
        remarks = list(remarks)
        self._told += remarks
        samples = self._tail.read() if self._tail is not None else []
        if not self._is_open:
            self._open(arrivals_exist)
            # Among lines that nobody knows the time of, what happened has no place either.
            remarks = [] if self._has_untimed and not self.is_timed else remarks
        elif not (changed or samples or remarks):
            return False
        self._take_in(samples, remarks)
        self.revision += 1
        return True

    @property
    def num_chunks(self) -> int:
        return -(-self.order.size // CHUNK_BYTES)

    @property
    def num_settled_chunks(self) -> int:
        """Chunks from the start that hold the same lines for ever, but for a last line that goes on."""
        return self._mark.size // CHUNK_BYTES

    @property
    def order_words(self) -> str:
        """How far the order among several logs is known."""
        if len(self.logs) < 2 or not self.order.size:
            return ""
        if self.is_timed:
            return "in order of arrival, to the second"
        return "log after log; in order of arrival from now on" if self._has_untimed else ""

    def lines(self, chunk: int) -> list[TextLine]:
        """Lines that begin in this chunk, counted from 0."""
        low = chunk * CHUNK_BYTES
        pieces = self.order.between(low, low + CHUNK_BYTES)
        return list(self._lines_of(pieces))

    def raw(self, chunk: int) -> list[bytes]:
        """The bytes of this chunk, log by log, with some around them; remarks left out."""
        low = chunk * CHUNK_BYTES
        pieces = self.order.between(low, low + CHUNK_BYTES)
        return [self.files[log].raw(start, end) for log, (start, end) in _parts(pieces).items()]

    def remarks_in(self, chunk: int) -> list[Remark]:
        """The remarks of this chunk."""
        low = chunk * CHUNK_BYTES
        pieces = self.order.between(low, low + CHUNK_BYTES)
        return [self.remarks[piece.start] for piece in pieces if piece.log == REMARK]

    def frozen(self) -> LogText:
        """As it is now, for another thread: later changes do not reach it."""
        copied = LogText(())
        copied.logs, copied.files = self.logs, self.files
        copied.remarks, copied.order = list(self.remarks), self.order.copy()
        copied.is_timed, copied._mark = self.is_timed, self._mark
        return copied

    def _begin(self) -> None:
        self.order = Order(len(self.logs))
        self.remarks.clear()
        self.is_timed = False
        """Whether the supervisor noted when lines came."""
        self._has_untimed = False
        self._is_open = False
        self._timed: frozenset[int] = frozenset()
        self._tail = None if self._arrivals is None else EventTail(self._arrivals)
        self._mark = self.order.mark()

    def _open(self, arrivals_exist: bool) -> None:
        """What is there before the first look, where nobody noted when it came."""
        self._is_open, self.is_timed, self._has_untimed = True, arrivals_exist, False
        ranks = (index for index, log in enumerate(self.logs) if log.rank is not None)
        self._timed = frozenset(ranks) if arrivals_exist else frozenset()
        for index, log in enumerate(self.logs):
            if index not in self._timed and self.files[index].size:
                if len(self.logs) > 1:
                    self._remark(
                        Remark(0.0, ORDER, f"{log.name}: {self.files[index].size:,} bytes", "info")
                    )
                self.order.arrive(None, {index: self.files[index].size})
                self._has_untimed = True
        self._mark = self.order.mark()

    def _take_in(self, samples: Sequence[Event], remarks: Sequence[Remark]) -> None:
        self.order.rewind(self._mark)
        for t, what in _by_time(remarks, samples):
            if isinstance(what, Remark):
                self._remark(what)
            else:
                self.order.arrive(t, self._sizes_in(what))
        sizes = {index: file.size for index, file in enumerate(self.files)}
        seen = {index: size for index, size in sizes.items() if index not in self._timed}
        self.order.arrive(self._clock(), seen)
        self._mark = self.order.mark()
        self.order.arrive(None, sizes)

    def _remark(self, remark: Remark) -> None:
        self.order.remark(len(self.remarks))
        self.remarks.append(remark)

    def _sizes_in(self, sample: Event) -> Mapping[int, int]:
        sizes = sample["bytes"]
        found = ((index, sizes.get(str(log.rank))) for index, log in enumerate(self.logs))
        return {index: size for index, size in found if isinstance(size, int)}

    def _lines_of(self, pieces: Sequence[Piece]) -> Iterator[TextLine]:
        parts = _parts(pieces)
        lines = {log: self.files[log].lines(start, end) for log, (start, end) in parts.items()}
        starts = {log: [line.start for line in found] for log, found in lines.items()}
        for log, start, end in pieces:
            if log == REMARK:
                t, kind, text, level = self.remarks[start]
                yield TextLine(REMARK, start, text, level, t or None, kind=kind)
                continue
            first, last = bisect_left(starts[log], start), bisect_left(starts[log], end)
            for line in lines[log][first:last]:
                t_line = self.order.time_of(log, line.start)
                yield TextLine(log, line.start, line.text, line.level, t_line, line.is_whole)


def _parts(pieces: Sequence[Piece]) -> dict[int, tuple[int, int]]:
    """Of each log, what is in these pieces: one part of the file, as they follow each other."""
    found: dict[int, tuple[int, int]] = {}
    for log, start, end in pieces:
        if log != REMARK:
            found[log] = (found[log][0] if log in found else start, end)
    return found


def _by_time(
    remarks: Iterable[Remark], samples: Iterable[Event]
) -> Iterator[tuple[float, Remark | Event]]:
    told: Iterator[tuple[float, Remark | Event]] = ((remark.t, remark) for remark in remarks)
    timed: Iterator[tuple[float, Remark | Event]] = (
        (float(sample["t"]), sample) for sample in samples if _is_sample(sample)
    )
    return heapq.merge(told, timed, key=lambda each: each[0])


def _is_sample(event: Event) -> bool:
    return isinstance(event.get("t"), (int, float)) and isinstance(event.get("bytes"), dict)


def arrivals_path(folder: Path) -> Path:
    """The supervisor's notes in the folder of an attempt."""
    return folder / ARRIVALS_NAME
