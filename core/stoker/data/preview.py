"""The first rows of a source as a model will see them, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from stoker.data.bad_rows import BadRowPolicy, BadRows
from stoker.data.encode import EncodedRow, Encoder
from stoker.data.formats import parse_row
from stoker.data.problems import DataError, RowError
from stoker.data.sinks import BlockSink, Ids, Mask, RowSink, Tally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from stoker.data.sources import ResolvedSource


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row of the index, or why a row of the source will not become one."""

    source: str
    """A file, a hub id, a plugin's name."""
    place: str
    """Where the row is, or the document that a block ends in."""
    num_tokens: int = 0
    num_supervised: int = 0
    num_cut: int = 0
    """Tokens that were cut off behind those."""
    segments: list[tuple[str, bool]] = field(default_factory=list)
    """Pieces of text in order, and whether the model learns them."""
    problem: str = ""
    """Why it cannot be used; empty for a row that can."""

    def as_dict(self) -> dict[str, Any]:
        """The shape of an item of `examples` in `check --json --show-data`."""
        segments = [{"text": text, "supervised": learnt} for text, learnt in self.segments]
        return {**asdict(self), "segments": segments}


@dataclass(frozen=True)
class Preview:
    """The first rows of one source."""

    examples: list[Example]
    error: DataError | None = None
    """Why training would refuse the source, as far as these rows show."""
    warning: DataError | None = None
    """What would be such a reason if all rows were like these."""


def preview(
    source: ResolvedSource,
    encoder: Encoder,
    sequence_length: int,
    count: int,
    policy: BadRowPolicy,
) -> Preview:
    """The first `count` rows of a source, cut or joined to blocks as they will be.

    Raises `DataError` for a source that cannot be read.
    """
    previewer = _Previewer(source, encoder, sequence_length, policy)
    examples = previewer.blocks() if source.format == "text" else previewer.rows()
    return Preview(list(islice(examples, count)), *previewer.verdict())


class _Shelf:
    """A writer that keeps rows in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[Ids, Mask]] = []

    def add(self, ids: Ids, supervised: Mask, source: int) -> None:
        self.rows.append((ids, supervised))


class _Previewer:
    """Takes rows of one source as far as they are asked for."""

    def __init__(
        self, source: ResolvedSource, encoder: Encoder, limit: int, policy: BadRowPolicy
    ) -> None:
        self._source = source
        self._encoder = encoder
        self._limit = limit
        self._bad = BadRows(source.name, policy)
        self._tally = Tally(source.name, limit)
        self._shelf = _Shelf()

    def rows(self) -> Iterator[Example]:
        """One example for each row."""
        sink = RowSink(self._shelf, 0, self._limit, self._tally)
        for label, place, encoded in self._encoded():
            if isinstance(encoded, RowError):
                yield _refused(label, place, encoded)
                continue
            sink.add(encoded, place)
            if self._shelf.rows:
                example = self._take(label, place)
                yield replace(example, num_cut=len(encoded.ids) - example.num_tokens)
            else:
                problem = f"no token in its first {self._limit:,} is supervised"
                yield Example(source=label, place=place, problem=problem)

    def blocks(self) -> Iterator[Example]:
        """One example for each block of documents."""
        label = place = ""
        sink = BlockSink(self._shelf, 0, self._limit)
        for label, place, encoded in self._encoded():
            if isinstance(encoded, RowError):
                yield _refused(label, place, encoded)
                continue
            sink.add(encoded, place)
            while self._shelf.rows:
                yield self._take(label, f"ends in {place}")
        sink.finish()
        if self._shelf.rows:
            yield self._take(label, f"ends in {place}")

    def verdict(self) -> tuple[DataError | None, DataError | None]:
        """What the rows so far say about the source: an error, and a warning."""
        error = warning = None
        try:
            self._bad.check(beginning=True)
        except DataError as found:
            error = found
        try:
            self._tally.check_supervised()
            if self._tally.num_cut < self._tally.num_rows:
                self._tally.check_closed()
        except DataError as found:
            warning = found
        return error, warning

    def _encoded(self) -> Iterator[tuple[str, str, EncodedRow | RowError]]:
        """(label, place, a passage as tokens or what is wrong with the row)."""
        for part in self._source.parts:
            for place, row, _ in part.open():
                self._bad.seen += 1
                try:
                    for passage in self._encoder.passages(parse_row(row, self._source.format)):
                        (encoded,) = self._encoder.encode([passage])
                        self._encoder.check_bos(encoded)
                        yield part.label, place, encoded
                except RowError as error:
                    self._bad.add(part.label, place, error)
                    yield part.label, place, error

    def _take(self, label: str, place: str) -> Example:
        ids, supervised = self._shelf.rows.pop(0)
        return Example(
            source=label,
            place=place,
            num_tokens=len(ids),
            num_supervised=int(supervised[1:].sum()),
            segments=_segments(self._encoder.tokenizer, ids, supervised),
        )


def _refused(label: str, place: str, error: RowError) -> Example:
    return Example(source=label, place=place, problem=f"{error.message}. {error.hint}".strip())


def _segments(tokenizer: PreTrainedTokenizerBase, ids: Ids, supervised: Mask) -> list[tuple[str, bool]]:
    """The text of each run of tokens of one kind: what decoding with it adds to what is before."""
    segments: list[tuple[str, bool]] = []
    before, stop = "", 0
    for learnt, run in groupby(np.asarray(supervised).tolist()):
        stop += len(list(run))
        text = str(tokenizer.decode(ids[:stop], clean_up_tokenization_spaces=False))
        segments.append((text[len(before) :], learnt))
        before = text
    return segments
