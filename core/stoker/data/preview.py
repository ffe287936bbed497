"""The first rows of the sources as a model will see them, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from stoker.data.encode import EncodedRow, Encoder
from stoker.data.formats import parse_row
from stoker.data.problems import RowError
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


class _Shelf:
    """A writer that keeps rows in memory."""

    def __init__(self) -> None:
        self.rows: list[tuple[Ids, Mask]] = []

    def add(self, ids: Ids, supervised: Mask, source: int) -> None:
        self.rows.append((ids, supervised))


def preview(source: ResolvedSource, encoder: Encoder, sequence_length: int, count: int) -> list[Example]:
    """The first `count` rows of a source, cut or joined to blocks as they will be.

    Raises `DataError` for what is wrong with the source as a whole.
    """
    examples = _blocks if source.format == "text" else _rows
    return list(islice(examples(source, encoder, sequence_length), count))


def _rows(source: ResolvedSource, encoder: Encoder, limit: int) -> Iterator[Example]:
    for label, place, encoded in _encoded(source, encoder):
        if isinstance(encoded, RowError):
            yield _refused(label, place, encoded)
            continue
        shelf = _Shelf()
        RowSink(shelf, 0, limit, Tally(source.name, limit)).add(encoded[0], place)
        if shelf.rows:
            example = _example(encoder.tokenizer, label, place, *shelf.rows[0])
            yield replace(example, num_cut=len(encoded[0].ids) - example.num_tokens)
        else:
            problem = f"no token in its first {limit:,} is supervised"
            yield Example(source=label, place=place, problem=problem)


def _blocks(source: ResolvedSource, encoder: Encoder, limit: int) -> Iterator[Example]:
    shelf, label, place = _Shelf(), "", ""
    sink = BlockSink(shelf, 0, limit)
    for label, place, encoded in _encoded(source, encoder):
        if isinstance(encoded, RowError):
            yield _refused(label, place, encoded)
            continue
        for piece in encoded:
            sink.add(piece, place)
        while shelf.rows:
            yield _example(encoder.tokenizer, label, f"ends in {place}", *shelf.rows.pop(0))
    sink.finish()
    if shelf.rows:
        yield _example(encoder.tokenizer, label, f"ends in {place}", *shelf.rows.pop(0))


def _encoded(
    source: ResolvedSource, encoder: Encoder
) -> Iterator[tuple[str, str, list[EncodedRow] | RowError]]:
    """(label, place, the row's passages as tokens, or what is wrong with it)."""
    for part in source.parts:
        for place, row, _ in part.open():
            try:
                yield part.label, place, encoder.encode(encoder.passages(parse_row(row, source.format)))
            except RowError as error:
                yield part.label, place, error


def _refused(label: str, place: str, error: RowError) -> Example:
    return Example(source=label, place=place, problem=f"{error.message}. {error.hint}".strip())


def _example(
    tokenizer: PreTrainedTokenizerBase, label: str, place: str, ids: Ids, supervised: Mask
) -> Example:
    return Example(
        source=label,
        place=place,
        num_tokens=len(ids),
        num_supervised=int(supervised[1:].sum()),
        segments=_segments(tokenizer, ids, supervised),
    )


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
