"""A TOML text with the places of its keys and tables, for edits that leave the rest as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import tomli

from stoker.recipe.toml_spans import Path, Span, find_spans
from stoker.recipe.words import key_text

_COMMENT_LINE = re.compile(r"[ \t]*#[^\n]*\n?")
_TAIL = re.compile(r"[ \t]*,?[ \t]*(#[^\r\n]*)?")


class Source:
    """A valid TOML text. Offsets count characters."""

    def __init__(self, text: str) -> None:
        """Raises `tomli.TOMLDecodeError` for a text that is none."""
        self.data: dict[str, Any] = tomli.loads(text)
        self.text = text
        self.spans = find_spans(text)
        self.line_end = "\r\n" if "\r\n" in text else "\n"

    @cached_property
    def headers(self) -> list[Span]:
        """Headers of tables and of rows, in the order of the text."""
        return [span for span in self.spans if span.kind in ("table", "row")]

    def value(self, path: Path) -> Span | None:
        """The key or item of this path, where it has a value of its own."""
        return next((span for span in self.spans if span.path == path and _has_value(span)), None)

    def header(self, path: Path) -> Span | None:
        """The header of this path."""
        return next((span for span in self.headers if span.path == path), None)

    def headers_in(self, path: Path) -> list[Span]:
        """Headers of this path and of tables inside it."""
        return [span for span in self.headers if span.path[: len(path)] == path]

    def lines_of(self, path: Path) -> list[Span]:
        """Lines that state keys inside `path` with dots, from outside of its own sections."""
        inside = {span.section for span in self.headers_in(path)}
        return [
            span
            for span in self.spans
            if span.kind == "key"
            and not span.is_inline
            and span.section not in inside
            and span.path[: len(path)] == path
            and len(span.path) > len(path)
        ]

    def entries(self, section: int) -> list[Span]:
        """The lines under a header, -1 for those before the first one."""
        return [s for s in self.spans if s.section == section and s.kind == "key" and not s.is_inline]

    def items(self, path: Path) -> list[Span]:
        """Items of an array, or keys of an inline table, that is written as a value."""
        depth = len(path) + 1
        found = [s for s in self.spans if s.is_inline and s.path[:-1] == path and len(s.path) == depth]
        return sorted(found, key=lambda span: span.start)

    def line_start(self, offset: int) -> int:
        return self.text.rfind("\n", 0, offset) + 1

    def next_line(self, offset: int) -> int:
        """Where the line after the one of `offset` begins."""
        found = self.text.find("\n", offset)
        return len(self.text) if found < 0 else found + 1

    def tail(self, span: Span) -> re.Match[str]:
        """What stands behind an item on its line: a comma, and as group 1 a comment."""
        match = _TAIL.match(self.text, span.end)
        if match is None:  # the pattern matches nothing too
            raise ValueError(f"no text at offset {span.end}")
        return match

    def is_last_on_line(self, span: Span) -> bool:
        """Whether nothing but a comma and a comment follows."""
        end = self.tail(span).end()
        return self.text[end : end + 1] in ("", "\n", "\r")

    def begins_line(self, span: Span) -> bool:
        return not self.text[self.line_start(span.key_start) : span.key_start].strip()

    def indent(self, span: Span) -> str:
        """White space before the line of a span."""
        start = self.line_start(span.key_start)
        line = self.text[start : span.key_start]
        return line[: len(line) - len(line.lstrip())]

    def body_end(self, section: int) -> int:
        """Behind the last line of a section; comments that hang on it are included."""
        end = self.last_line_end(section)
        following = next((s.key_start for s in self.headers if s.section == section + 1), None)
        after = end
        while match := _COMMENT_LINE.match(self.text, after):
            if match.end() == after:
                break
            after = match.end()
        # A comment that goes on to the next header is about that one.
        return end if following is not None and after == self.line_start(following) else after

    def last_line_end(self, section: int) -> int:
        """Behind the last key of a section, or behind its header."""
        entries = self.entries(section)
        if entries:
            return self.next_line(entries[-1].end)
        header = next((span for span in self.headers if span.section == section), None)
        return self.next_line(header.end) if header else 0

    def head_start(self, header: Span) -> int:
        """Where a section begins: its header, or the comment directly above it."""
        start = self.line_start(header.key_start)
        while start > 0:
            above = self.line_start(start - 1)
            if not self.text[above:start].lstrip().startswith("#"):
                break
            start = above
        return start


def _has_value(span: Span) -> bool:
    return span.kind in ("key", "item")


def dotted(path: Path) -> str:
    return ".".join(map(key_text, path))


def with_written(text: str, pieces: Iterator[tuple[int, int, str]] | list[tuple[int, int, str]]) -> str:
    """`text` with (start, end, new text) put in; pieces may come in any order and do not overlap."""
    for start, end, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    return text
