"""Where tokenised rows go: cut to length, dropped when nothing is left to learn, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stoker.data.problems import DataError

if TYPE_CHECKING:
    from stoker.data.encode import EncodedRow

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Writer(Protocol):
    """Keeps rows: an `IndexWriter`, or a list of the first few."""

    def add(self, ids: Ids, supervised: Mask, source: int) -> None:
        """Append a row of the `source`-th source."""


class Tally:
    """What became of the rows of one source, and whether a model can learn from it."""

    def __init__(self, source: str, limit: int) -> None:
        """`limit` in tokens."""
        self._source = source
        self._limit = limit
        self.num_rows = 0
        self.num_cut = 0
        self.num_kept = 0
        self.num_closed = 0
        """Kept rows with the end of a learned turn in them."""
        self._first_dropped = ""
        self._first_open = ""

    def count(self, place: str, row: EncodedRow, *, kept: bool) -> None:
        """Note what became of a row, which is whole here."""
        is_closed = any(position < self._limit for position in row.turn_ends)
        self.num_rows += 1
        self.num_cut += len(row.ids) > self._limit
        self.num_kept += kept
        self.num_closed += kept and is_closed
        if not kept:
            self._first_dropped = self._first_dropped or place
        elif not is_closed:
            self._first_open = self._first_open or place

    def check_supervised(self) -> None:
        """Raise `DataError` if no token of any row is learnt."""
        if self.num_rows and not self.num_kept:
            cut = f" in its first {self._limit:,} tokens (data.sequence_length)" * (self.num_cut > 0)
            raise DataError(
                f"{self._source}: none of {_rows(self.num_rows)} has a supervised token{cut}, for "
                f"example {self._first_dropped}.",
                hint="`stoker check --show-data 3` shows what is supervised; see data.supervise.",
            )

    def check_closed(self) -> None:
        """Raise `DataError` if the model would never see where an answer ends."""
        if not self.num_kept or self.num_closed:
            return
        example = f"in {_rows(self.num_kept)}, for example {self._first_open}"
        if self.num_cut == self.num_rows:
            raise DataError(
                f"{self._source}: every row is cut at {self._limit:,} tokens, before the end of an "
                f"answer, so the model would not learn to stop: {example}.",
                hint="Raise data.sequence_length.",
            )
        raise DataError(
            f"{self._source}: the token that ends a turn is never supervised, so the model would not "
            f"learn to stop: {example}.",
            hint="Set data.chat_template to one that ends each turn in a special token.",
        )

    def notes(self) -> list[str]:
        """How many rows were cut, and how many dropped."""
        notes = []
        if self.num_cut:
            notes.append(
                f"{self.num_cut:,} of {_rows(self.num_rows)} were longer than "
                f"{self._limit:,} tokens (data.sequence_length) and were cut"
            )
        if num_dropped := self.num_rows - self.num_kept:
            notes.append(
                f"{num_dropped:,} of {_rows(self.num_rows)} were left out: "
                f"no token in their first {self._limit:,} is supervised"
            )
        return notes


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


class RowSink:
    """One row of the index for each row of the source."""

    def __init__(self, writer: Writer, source: int, limit: int, tally: Tally) -> None:
        """`limit` in tokens."""
        self._writer = writer
        self._source = source
        self._limit = limit
        self._tally = tally

    def add(self, row: EncodedRow, place: str) -> None:
        """Cut at the end, then keep the row if anything in it is supervised."""
        ids, supervised = row.ids[: self._limit], row.supervised[: self._limit]
        # The first token of a row is nobody's target.
        kept = bool(supervised[1:].any())
        self._tally.count(place, row, kept=kept)
        if kept:
            self._writer.add(ids, supervised, self._source)

    def finish(self) -> None:
        """Nothing is held back."""


class BlockSink:
    """Documents one after the other, cut into blocks of equal length; all tokens are supervised."""

    def __init__(self, writer: Writer, source: int, limit: int) -> None:
        """`limit`: tokens of a block."""
        self._writer = writer
        self._source = source
        self._limit = limit
        self._held: list[Ids] = []
        self._num_held = 0
        self.num_blocks = 0

    def add(self, row: EncodedRow, place: str) -> None:
        """Take a document, or the next piece of one."""
        self._held.append(row.ids)
        self._num_held += len(row.ids)
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
        self.num_blocks += 1

    def finish(self) -> None:
        """Write the last, shorter block; a single token predicts nothing."""
        if self._num_held > 1:
            self._write(np.concatenate(self._held))
        self._held, self._num_held = [], 0


Sink = RowSink | BlockSink
