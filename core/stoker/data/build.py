"""Makes an index: reads rows, tokenises them in batches, cuts, drops, holds out and counts."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stoker.data.bad_rows import BadRowPolicy, BadRows
from stoker.data.encode import EncodedRow, Encoder, Passage
from stoker.data.formats import identity, parse_row
from stoker.data.problems import DataError, RowError
from stoker.data.sinks import BlockSink, RowSink, Sink, Tally
from stoker.data.store import IndexWriter

if TYPE_CHECKING:
    from stoker.data.readers import Rows
    from stoker.data.sources import ResolvedSource
    from stoker.recipe.schema import DataTable

Report = Callable[[str, int, int], None]
"""report(phase, done, total), in rows; total 0 where it is not known. May raise to interrupt."""
Note = tuple[int | None, str]
"""Something worth knowing: the number of the source it is about, if it is about one, and a text."""
_OpenParts = list[tuple[str, "Rows", int]]
"""Labels, rows, and how many there are."""

_BATCH_ROWS = 256
_BATCH_CHARACTERS = 2**20


@dataclass
class _Half:
    """Training or evaluation data while it is made."""

    name: str
    writer: IndexWriter
    identities: array[int] = field(default_factory=lambda: array("Q"))
    """One for each row it was given, to find rows that are in both halves."""


@dataclass(frozen=True)
class _Item:
    """A passage on its way to the tokenizer."""

    passage: Passage
    held_out: bool
    label: str
    place: str


def build_index(
    directory: Path,
    data: DataTable,
    encoder: Encoder,
    sources: tuple[list[ResolvedSource], list[ResolvedSource]],
    report: Report,
) -> list[Note]:
    """Write train.arrow and, if any row is for it, eval.arrow into `directory`; returns notes.

    `sources` are those of training and of evaluation; notes number them in that order. Raises
    `DataError` for rows that cannot be used, and when a half that was asked for has nothing to learn.
    """
    with ExitStack() as stack:
        halves = [
            _Half(name, stack.enter_context(IndexWriter(directory / file, max(1, len(own)))))
            for name, file, own in zip(
                ("training", "evaluation"), ("train.arrow", "eval.arrow"), sources, strict=True
            )
        ]
        builder = _Builder(data, encoder, halves[0], halves[1], report)
        builder.read([*sources[0], *sources[1]])
        for half, own in zip(halves, sources, strict=True):
            for number, source in enumerate(own):
                happened = builder.add(source, number, half)
                first = 0 if half is halves[0] else len(sources[0])
                builder.notes += [(first + number, text) for text in happened]
        notes = builder.finish(evaluation_wanted=bool(sources[1]))
    if not halves[1].writer.num_rows:
        (directory / "eval.arrow").unlink()
    return notes


class _Builder:
    """Takes rows through parsing, rendering and tokenising into the two halves."""

    def __init__(
        self, data: DataTable, encoder: Encoder, train: _Half, evaluation: _Half, report: Report
    ) -> None:
        self._data = data
        self._encoder = encoder
        self._train = train
        self._evaluation = evaluation
        self._report = report
        self._rows: dict[int, _OpenParts] = {}
        self._num_done = 0
        self._num_total = 0
        self.notes: list[Note] = []

    def read(self, sources: list[ResolvedSource]) -> None:
        """Open all sources, so that the number of rows is known before the first is tokenised."""
        num_parts = sum(len(source.parts) for source in sources)
        num_read = 0
        for source in sources:
            opened = self._rows[id(source)] = []
            for part in source.parts:
                tick = partial(self._report, "reading data", num_read, num_parts)
                tick()
                rows = part.open()
                num_rows = rows.count(tick)
                if num_rows == 0:
                    raise DataError(f"{part.label}: there is no row in it.")
                opened.append((part.label, rows, num_rows))
                self._num_total += num_rows
                num_read += 1

    def add(self, source: ResolvedSource, number: int, half: _Half) -> list[str]:
        """Tokenise the `number`-th source of a half; rows of training may be held out.

        Returns what happened to its rows.
        """
        rows = self._rows.pop(id(source))
        policy = BadRowPolicy.of(self._data)
        bad = BadRows(source.name, policy, sum(num_rows for _, _, num_rows in rows))
        tally = Tally(source.name, self._data.sequence_length)
        sinks = self._sinks(source, number, half, tally)
        for batch in self._batches(source, rows, half, bad):
            for item, row in zip(batch, self._encode(batch, bad), strict=True):
                if row is not None:
                    sinks[item.held_out].add(row, item.place)
            self._report("tokenising", self._num_done, self._num_total)
        for sink in sinks:
            sink.finish()
        bad.check()
        tally.check_supervised()
        if half is self._train:
            tally.check_closed()
        return [*bad.notes(), *tally.notes(), *_block_notes(sinks, self._data.sequence_length)]

    def _sinks(
        self, source: ResolvedSource, number: int, half: _Half, tally: Tally
    ) -> tuple[Sink, Sink]:
        """Where rows of a source go: the ones of its half, and the ones held out."""
        limit, held_out = self._data.sequence_length, self._evaluation.writer
        if source.format == "text":
            return BlockSink(half.writer, number, limit), BlockSink(held_out, 0, limit)
        return RowSink(half.writer, number, limit, tally), RowSink(held_out, 0, limit, tally)

    def _encode(self, batch: list[_Item], bad: BadRows) -> list[EncodedRow | None]:
        """The rows of a batch; None for one that turned out to be bad."""
        rows: list[EncodedRow | None] = []
        for item, row in zip(batch, self._encoder.encode([item.passage for item in batch]), strict=True):
            try:
                self._encoder.check_bos(row)
                rows.append(row)
            except RowError as error:
                bad.add(item.label, item.place, error)
                rows.append(None)
        return rows

    def _batches(
        self, source: ResolvedSource, rows: _OpenParts, half: _Half, bad: BadRows
    ) -> Iterator[list[_Item]]:
        """The passages of a source, as many at a time as are tokenised together."""
        batch: list[_Item] = []
        num_characters = 0
        for item in self._items(source, rows, half, bad):
            if bad.is_refused:
                continue
            batch.append(item)
            num_characters += len(item.passage.text)
            if len(batch) >= _BATCH_ROWS or num_characters >= _BATCH_CHARACTERS:
                yield batch
                batch, num_characters = [], 0
        yield [] if bad.is_refused else batch

    def _items(
        self, source: ResolvedSource, rows: _OpenParts, half: _Half, bad: BadRows
    ) -> Iterator[_Item]:
        share = self._data.eval_fraction if half is self._train else 0.0
        for label, part, _ in rows:
            for place, row, _ in part:
                self._num_done += 1
                bad.seen += 1
                if bad.is_refused and self._num_done % _BATCH_ROWS == 0:
                    self._report("looking for more bad rows", self._num_done, self._num_total)
                try:
                    example = parse_row(row, source.format)
                    passages = self._encoder.passages(example)
                except RowError as error:
                    bad.add(label, place, error)
                    continue
                row_identity = identity(example)
                # By content, so that a copy of a row is held out with it.
                held_out = row_identity < share * 2**64
                self._receiver(half, held_out).identities.append(row_identity)
                for passage in passages:
                    yield _Item(passage, held_out, label, place)

    def _receiver(self, half: _Half, held_out: bool) -> _Half:
        return self._evaluation if held_out else half

    def finish(self, evaluation_wanted: bool) -> list[Note]:
        """All notes. Raises `DataError` when a half that was asked for is empty."""
        train, evaluation = self._train, self._evaluation
        for half, wanted in ((train, True), (evaluation, evaluation_wanted)):
            if wanted and not half.writer.num_rows:
                details = "; ".join(text for _, text in self.notes)
                raise DataError(
                    f"no row is left for {half.name}: none has a token to learn. {details}".strip(),
                    hint="Look at the rows, data.sequence_length and data.supervise.",
                )
        if self._data.eval_fraction and not evaluation.identities:
            text = "data.eval_fraction held out nothing: it takes whole rows by hash, and there are few"
            self.notes.append((None, text))
        first = [_summary(half) for half in (train, evaluation) if half.writer.num_rows]
        last = [*self._encoder.notes(), *_overlap_notes(train, evaluation)]
        return [*((None, text) for text in first), *self.notes, *((None, text) for text in last)]


def _block_notes(sinks: tuple[Sink, Sink], limit: int) -> list[str]:
    num_blocks = sum(sink.num_blocks for sink in sinks if isinstance(sink, BlockSink))
    if not num_blocks:
        return []
    return [f"documents were joined and cut into {num_blocks:,} blocks of {limit:,} tokens"]


def _summary(half: _Half) -> str:
    writer = half.writer
    share = writer.num_supervised / writer.num_tokens
    return (
        f"{half.name} data: {writer.num_rows:,} rows, {writer.num_tokens:,} tokens, "
        f"{share:.0%} of them supervised"
    )


def _overlap_notes(train: _Half, evaluation: _Half) -> list[str]:
    if not evaluation.identities:
        return []
    both = np.isin(
        np.frombuffer(evaluation.identities, dtype=np.uint64),
        np.frombuffer(train.identities, dtype=np.uint64),
    ).sum()
    return [f"{both:,} rows of the evaluation data are in the training data too"] if both else []
