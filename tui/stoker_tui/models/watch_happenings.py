"""What happened in a run, newest first, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from stoker_tui.models.amounts import date_of, time_of_day
from stoker_tui.models.styled import Line, Piece, Tone, foreign, has_words, line

if TYPE_CHECKING:
    from stoker_tui.models.happenings import Happening

MOST: Final = 500
_TONES: Final[dict[str, Tone]] = {"error": "bad", "warning": "warning", "good": "good"}
_GLYPHS: Final[dict[str, str]] = {"error": "✗ ", "warning": "⚠ ", "good": "✓ "}


def happening_lines(happenings: Sequence[Happening], words: str = "") -> list[Line]:
    """The latest ones whose text has all the words."""
    if not happenings:
        return [line(Piece("nothing yet", "muted"))]
    found = [each for each in reversed(happenings) if has_words(each.text, words)][:MOST]
    if not found:
        return [line(Piece("none of them has these words", "muted"))]
    return list(_with_dates(found))


def _with_dates(newest_first: Sequence[Happening]) -> Iterator[Line]:
    """A line for each, and one with the date where an earlier day begins."""
    date = date_of(newest_first[0].t)
    for each in newest_first:
        if (day := date_of(each.t)) != date:
            date = day
            yield line(Piece(date, "muted"))
        yield happening_line(each)


def happening_line(each: Happening) -> Line:
    """`12:41:07 checkpoint step-00002000 saved: 114.8 GB in 7.0 s`."""
    glyph = _GLYPHS.get(each.level, "")
    tone = _TONES.get(each.level, "plain")
    return line(Piece(f"{time_of_day(each.t)} ", "muted"), Piece(glyph, tone), foreign(each.text, tone))
