"""Rows of the data as the model will see them: which text it learns, and which it only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.run.lines import clean


@dataclass(frozen=True)
class Segment:
    """A piece of the text."""

    text: str
    """Control characters made harmless; line ends are kept."""
    supervised: bool
    """Whether the model learns it."""


@dataclass(frozen=True)
class PreviewRow:
    """One row of a source, or why it cannot be used."""

    key: str
    """Of the source: `data.train.0`."""
    source: str
    place: str
    num_tokens: int
    num_supervised: int
    num_cut: int
    segments: tuple[Segment, ...]
    problem: str
    """Empty for a row that can be used."""

    @property
    def counts(self) -> str:
        """`812 tokens, 300 supervised, 12 cut off`."""
        cut = f", {self.num_cut:,} cut off" if self.num_cut else ""
        return f"{self.num_tokens:,} tokens, {self.num_supervised:,} supervised{cut}"


@dataclass(frozen=True)
class Preview:
    """The first rows of each source."""

    rows: tuple[PreviewRow, ...]
    problems: tuple[Mapping[str, Any], ...]
    """In the shape of `check --json`."""

    def of(self, key: str) -> tuple[PreviewRow, ...]:
        """The rows of one source."""
        return tuple(row for row in self.rows if row.key == key)


def read_preview(answer: Mapping[str, Any]) -> Preview:
    """From the shape of `check --show-data N --json`, which `Bench.preview` returns."""
    return Preview(tuple(map(_row, answer.get("examples", ()))), tuple(answer["problems"]))


def _row(example: Mapping[str, Any]) -> PreviewRow:
    return PreviewRow(
        key=example["key"],
        source=clean(example["source"]),
        place=clean(example["place"]),
        num_tokens=example["num_tokens"],
        num_supervised=example["num_supervised"],
        num_cut=example["num_cut"],
        segments=_segments(example["segments"]),
        problem=clean(example["problem"]),
    )


def _segments(segments: Sequence[Mapping[str, Any]]) -> tuple[Segment, ...]:
    return tuple(Segment(clean(each["text"]), each["supervised"]) for each in segments)
