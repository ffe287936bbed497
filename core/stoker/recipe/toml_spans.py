"""Where in the text of a TOML file its tables, keys and values stand, to point at them and to edit them.

The text is known to be valid, `tomli` has parsed it, so the scanner here only has to tell keys,
strings, brackets and comments apart. Items of arrays are keys too: ("data", "train", "0", "path").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import tomli

Path = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED_KEY = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')
# A string of three quotes may end in up to five: two of them belong to the text.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL
)
_PLAIN_VALUE = re.compile(r"[^,\]}#\r\n]*[^,\]}#\r\n \t]")


@dataclass(frozen=True)
class Span:
    """A header, a key with its value, or an item of an array. Offsets count characters."""

    path: Path
    kind: Literal["table", "row", "key", "item"]
    """`table`: [a.b]; `row`: [[a.b]]; `key`: a line or part of an inline table; `item`: of an array."""
    key_start: int
    """Where it begins: the bracket of a header, the key, the item."""
    key_end: int
    """Behind the last bracket of a header, or the last character of a key."""
    start: int
    """The value; for a header the same as `key_start`."""
    end: int
    """Behind the value; for a header behind its last bracket."""
    section: int
    """Number of the header that it stands under, itself for a header; -1 before the first one."""
    is_inline: bool
    """Whether it stands inside an array or an inline table."""


def find_spans(text: str) -> list[Span]:
    """All spans of a valid TOML text; a value comes before those inside it."""
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.found


class _Scanner:
    """Walks the text once."""

    def __init__(self, text: str) -> None:
        self.found: list[Span] = []
        self._text = text
        self._offset = 0
        self._section = -1
        self._depth = 0
        self._array_lengths: dict[Path, int] = {}
        """Number of `[[tables]]` seen so far."""

    def scan(self) -> None:
        table: Path = ()
        self._skip_blank()
        while self._offset < len(self._text):
            if self._at("["):
                table = self._header()
            else:
                self._key_and_value(table)
            self._skip_blank()

    def _header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]` and return the table's path, items of arrays numbered."""
        start = self._offset
        is_row = self._at("[[")
        brackets = 2 if is_row else 1
        self._offset += brackets
        table: Path = ()
        for name in self._dotted_key():
            length = self._array_lengths.get(table)
            table = (*table, *([str(length - 1)] if length else []), name)
        if is_row:
            table = (*table, self._next_item(table))
        self._skip_blank()
        self._offset += brackets
        self._section += 1
        self._note(table, "row" if is_row else "table", start, self._offset, start, self._offset)
        return table

    def _next_item(self, array: Path) -> str:
        number = self._array_lengths.get(array, 0)
        self._array_lengths[array] = number + 1
        return str(number)

    def _key_and_value(self, table: Path) -> None:
        start = self._offset
        path = (*table, *self._dotted_key())
        key_end = self._key_end
        self._skip_blank()
        self._offset += len("=")
        self._value(path, "key", start, key_end)

    def _dotted_key(self) -> list[str]:
        names = [self._simple_key()]
        self._key_end = self._offset
        self._skip_blank()
        while self._at("."):
            self._offset += len(".")
            names.append(self._simple_key())
            self._key_end = self._offset
            self._skip_blank()
        return names

    def _simple_key(self) -> str:
        self._skip_blank()
        if self._at('"') or self._at("'"):
            return str(tomli.loads(f"key = {self._take(_QUOTED_KEY)}")["key"])
        return self._take(_BARE_KEY)

    def _value(self, path: Path, kind: Literal["key", "item"], key_start: int, key_end: int) -> None:
        self._skip_blank()
        start, place = self._offset, len(self.found)
        if kind == "item":
            key_start = key_end = start
        self._depth += 1
        if self._at("["):
            self._array(path)
        elif self._at("{"):
            self._inline_table(path)
        elif self._at('"') or self._at("'"):
            self._take(_STRING)
        else:
            self._take(_PLAIN_VALUE)
        self._depth -= 1
        self._note(path, kind, key_start, key_end, start, self._offset, place)

    def _array(self, path: Path) -> None:
        self._offset += len("[")
        self._skip_blank()
        number = 0
        while not self._at("]"):
            self._value((*path, str(number)), "item", self._offset, self._offset)
            self._skip_separator()
            number += 1
        self._offset += len("]")

    def _inline_table(self, path: Path) -> None:
        self._offset += len("{")
        self._skip_blank()
        while not self._at("}"):
            self._key_and_value(path)
            self._skip_separator()
        self._offset += len("}")

    def _skip_separator(self) -> None:
        self._skip_blank()
        if self._at(","):
            self._offset += len(",")
            self._skip_blank()

    def _note(
        self,
        path: Path,
        kind: Literal["table", "row", "key", "item"],
        key_start: int,
        key_end: int,
        start: int,
        end: int,
        place: int | None = None,
    ) -> None:
        """Put a span at `place`, before those inside it."""
        span = Span(path, kind, key_start, key_end, start, end, self._section, self._depth > 0)
        self.found.insert(len(self.found) if place is None else place, span)

    def _at(self, text: str) -> bool:
        return self._text.startswith(text, self._offset)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._offset)
        if match is None:
            raise ValueError(f"no TOML at offset {self._offset}")
        self._offset = match.end()
        return match.group()

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._offset)
        self._offset = match.end() if match else self._offset
