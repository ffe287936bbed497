"""Lines of text with tones, measured in terminal cells. What a tone looks like, themes say."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, get_args

from stoker.run.lines import clean

Tone = Literal["plain", "strong", "muted", "accent", "good", "warning", "bad"]
TONES: Final[tuple[Tone, ...]] = get_args(Tone)


class Piece(NamedTuple):
    """A stretch of text in one tone."""

    text: str
    tone: Tone = "plain"


Line = tuple[Piece, ...]
BLANK: Final[Line] = ()


def line(*parts: Piece | str) -> Line:
    """A line of pieces, empty ones left out; a bare string is plain."""
    pieces = (Piece(part) if isinstance(part, str) else part for part in parts)
    return tuple(piece for piece in pieces if piece.text)


def foreign(text: str, tone: Tone = "plain") -> Piece:
    """Text from a file, on one line and without control characters."""
    return Piece(clean(" ".join(text.split())), tone)


def width_of(text: str) -> int:
    """Cells that a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(each) for each in text)


def has_words(text: str, words: str) -> bool:
    """Whether a text has all of some words, whatever their case."""
    text = text.casefold()
    return all(word in text for word in words.casefold().split())


def line_width(pieces: Line) -> int:
    """Cells that a line takes."""
    return sum(width_of(piece.text) for piece in pieces)


def plain(pieces: Line) -> str:
    """Its characters."""
    return "".join(piece.text for piece in pieces)


def cut(text: str, cells: int) -> str:
    """The text, shortened to so many cells with `…` at its end."""
    if width_of(text) <= cells:
        return text
    kept, room = "", cells - 1
    for each in text:
        room -= _cells(each)
        if room < 0:
            break
        kept += each
    return kept + "…" if cells > 0 else ""


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """The text in exactly so many cells, at their right end with `right`."""
    text = cut(text, cells)
    blanks = " " * (cells - width_of(text))
    return blanks + text if right else text + blanks


def flow(groups: Iterable[Line], cells: int, separator: str = "  ") -> list[Line]:
    """Groups of pieces side by side, on as many lines as they take; a group is not broken."""
    lines: list[Line] = []
    current: Line = ()
    for group in (group for group in groups if group):
        together = (*current, Piece(separator), *group) if current else group
        if current and line_width(together) > cells:
            lines.append(current)
            together = group
        current = together
    return [*lines, current] if current else lines


def shorten(pieces: Line, cells: int) -> Line:
    """The line, cut to so many cells with `…` at its end."""
    if line_width(pieces) <= cells:
        return pieces
    kept: list[Piece] = []
    for piece in pieces:
        if width_of(piece.text) >= cells:
            return (*kept, Piece(cut(piece.text + " ", cells), piece.tone))
        cells -= width_of(piece.text)
        kept.append(piece)
    return tuple(kept)


def wrap(text: str, cells: int, tone: Tone = "plain") -> list[Line]:
    """Words of a text on lines of at most so many cells; longer words are cut."""
    words = [(foreign(cut(word, max(1, cells)), tone),) for word in text.split()]
    return [line(Piece(plain(each), tone)) for each in flow(words, max(1, cells), " ")]


def columns(rows: Sequence[Sequence[Piece]], alignment: str, gap: str = " ") -> list[Line]:
    """Rows as lines, their cells padded to the widest of each column; `alignment` is of `<` and `>`."""
    if not rows:
        return []
    widths = [max(width_of(row[index].text) for row in rows) for index in range(len(alignment))]
    return [
        line(
            *(
                Piece((gap if index else "") + pad(cell.text, width, right=side == ">"), cell.tone)
                for index, (cell, width, side) in enumerate(zip(row, widths, alignment, strict=True))
            )
        )
        for row in rows
    ]


def _cells(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
