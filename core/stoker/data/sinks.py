"""Where tokenised rows go: cut to length, dropped when nothing is left to learn, counted."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.data.store import IndexWriter

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Sink(Protocol):
    """Takes the rows of one source for one half of the data."""

    def add(self, ids: Ids, supervised: Mask) -> None:
        """Take a tokenised passage."""

    def finish(self) -> None:
        """Write what is still held back."""

    def notes(self) -> list[str]:
        """What happened to the rows, for people; empty when nothing did."""


class RowSink:
    """One row of the index for each row of the source."""

    def __init__(self, writer: IndexWriter, source: int, limit: int) -> None:
        """`limit` in tokens."""
        self._writer = writer
        self._source = source
        self._limit = limit
        self._num_rows = 0
        self._num_cut = 0
        self._num_dropped = 0

    def add(self, ids: Ids, supervised: Mask) -> None:
        """Cut at the end, then keep the row if anything in it is supervised."""
        self._num_rows += 1
        self._num_cut += len(ids) > self._limit
        ids, supervised = ids[: self._limit], supervised[: self._limit]
        if supervised[1:].any():
            self._writer.add(ids, supervised, self._source)
        else:
            self._num_dropped += 1

    def finish(self) -> None:
        """Nothing is held back."""

    def notes(self) -> list[str]:
        """How many rows were cut, and how many dropped."""
        notes = []
        if self._num_cut:
            notes.append(
                f"{self._num_cut:,} of {self._num_rows:,} rows were longer than "
                f"{self._limit:,} tokens (data.sequence_length) and were cut"
            )
        if self._num_dropped:
            notes.append(
                f"{self._num_dropped:,} of {self._num_rows:,} rows were left out: "
                f"no token in their first {self._limit:,} is supervised"
            )
        return notes


class BlockSink:
    """Documents one after the other, cut into blocks of equal length; all tokens are supervised."""

    def __init__(self, writer: IndexWriter, source: int, limit: int) -> None:
        """`limit`: tokens of a block."""
        self._writer = writer
        self._source = source
        self._limit = limit
        self._held: list[Ids] = []
        self._num_held = 0
        self._num_blocks = 0

    def add(self, ids: Ids, supervised: Mask) -> None:
        """Take a document, or the next piece of one."""
        self._held.append(ids)
        self._num_held += len(ids)
        if self._num_held >= self._limit:
            self._write_blocks()

    def _write_blocks(self) -> None:
        stream = np.concatenate(self._held)
        whole = len(stream) - len(stream) % self._limit
        for start in range(0, whole, self._limit):
            self._write(stream[start : start + self._limit])
        self._held = [stream[whole:]]
        self._num_held = len(stream) - whole

    def _write(self, ids: Ids) -> None:
        self._writer.add(ids, np.ones(len(ids), np.bool_), self._source)
        self._num_blocks += 1

    def finish(self) -> None:
        """Write the last, shorter block; a single token predicts nothing."""
        if self._num_held > 1:
            self._write(np.concatenate(self._held))
        self._held, self._num_held = [], 0

    def notes(self) -> list[str]:
        """How many blocks the documents gave."""
        if not self._num_blocks:
            return []
        return [
            f"documents were joined and cut into {self._num_blocks:,} blocks of {self._limit:,} tokens"
        ]
