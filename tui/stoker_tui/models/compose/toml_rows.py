"""Edits of arrays of tables in a TOML text, written as `[{ ... }]` or as `[[...]]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.recipe.toml_spans import Path, Span
from stoker.recipe.words import key_text, toml_text
from stoker_tui.models.compose.toml_edit import section_range, set_value, unset
from stoker_tui.models.compose.toml_source import Source, dotted, with_written

_WIDTH = 100
_INDENT = "    "


def add_row(text: str, path: Path, row: Mapping[str, Any]) -> str:
    """With a table more at the end of an array, which is made where it is missing."""
    source = Source(text)
    array = source.value(path)
    if array is None:
        rows = [header for header in source.headers_in(path) if len(header.path) > len(path)]
        return _add_section(source, path, rows[-1], row) if rows else set_value(text, path, [row])
    items = source.items(path)
    if not items:
        return set_value(text, path, [row])
    last = items[-1]
    if source.begins_line(last) and source.is_last_on_line(last):
        return _add_line(source, last, toml_text(row))
    longer = f"{text[: last.end]}, {toml_text(row)}{text[last.end :]}"
    return _fold(longer, path)


def remove_row(text: str, path: Path, number: int) -> str:
    """Without one table of an array."""
    return unset(text, (*path, str(number)))


def swap_rows(text: str, path: Path, number: int) -> str:
    """With row `number` and the one after it in each other's place, comments with their rows."""
    source = Source(text)
    if source.value(path) is None:
        first, second = (_block(source, (*path, str(each))) for each in (number, number + 1))
        upper, lower = text[slice(*first)], text[slice(*second)]
        if not upper.endswith("\n\n") and lower.endswith("\n\n"):
            upper, lower = upper + "\n", lower[:-1]
        elif upper.endswith("\n\n") and not lower.endswith("\n\n"):
            # The last block of a file has no empty line behind it.
            upper, lower = upper[:-1], lower + ("\n" if lower.endswith("\n") else "\n\n")
        return with_written(text, [(*first, lower), (*second, upper)])
    one, other = source.items(path)[number : number + 2]
    if source.is_last_on_line(one) and source.is_last_on_line(other):
        return with_written(text, [*_lines_swapped(source, one, other)])
    pieces = [(one.start, one.end, _text(source, other)), (other.start, other.end, _text(source, one))]
    return with_written(text, pieces)


def _add_line(source: Source, last: Span, row: str) -> str:
    """Below the last row of an array with a row a line."""
    text, tail = source.text, source.tail(last)
    comma = "" if "," in text[last.end : tail.start(1) if tail[1] else tail.end()] else ","
    line = f"{source.indent(last)}{row},{source.line_end}"
    place = source.next_line(tail.end())
    return text[: last.end] + comma + text[last.end : place] + line + text[place:]


def _fold(text: str, path: Path) -> str:
    """An array on one line that became too long: a row a line."""
    source = Source(text)
    array = source.value(path)
    if array is None or "\n" in text[array.start : array.end]:
        return text
    if array.end - source.line_start(array.start) <= _WIDTH:
        return text
    rows = [f"{_INDENT}{_text(source, item)},{source.line_end}" for item in source.items(path)]
    return f"{text[: array.start]}[{source.line_end}{''.join(rows)}]{text[array.end :]}"


def _add_section(source: Source, path: Path, last: Span, row: Mapping[str, Any]) -> str:
    end = source.body_end(last.section)
    lines = [f"[[{dotted(path)}]]", *(f"{key_text(k)} = {toml_text(v)}" for k, v in row.items())]
    body = source.line_end + source.line_end.join(lines) + source.line_end
    before = source.text[:end]
    return before + ("" if before.endswith("\n") else source.line_end) + body + source.text[end:]


def _block(source: Source, path: Path) -> tuple[int, int]:
    """Start and end of a row's sections."""
    ranges = [section_range(source, header) for header in source.headers_in(path)]
    return ranges[0][0], ranges[-1][1]


def _lines_swapped(source: Source, one: Span, other: Span) -> list[tuple[int, int, str]]:
    pieces = []
    for mine, theirs in ((one, other), (other, one)):
        tail, comment = source.tail(mine), source.tail(theirs)[1]
        comma_end = tail.start(1) if tail[1] else tail.end()
        comma = source.text[mine.end : comma_end].rstrip()
        shown = f"{comma}  {comment}" if comment else comma
        pieces.append((mine.start, tail.end(), _text(source, theirs) + shown))
    return pieces


def _text(source: Source, span: Span) -> str:
    return source.text[span.start : span.end]
