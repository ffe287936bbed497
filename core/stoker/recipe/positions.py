"""Where in the text of a TOML file each key and each value stands.

The text is known to be valid, `tomli` has parsed it, so the scanner here only has to tell keys,
strings, brackets and comments apart. Array items count as keys: `data.train.0.path`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

import tomli

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED_KEY = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')
# A string of three quotes may end in up to five: two of them belong to the text.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL
)
_PLAIN_VALUE = re.compile(r"[^,\]}#\r\n]+")


class Position(NamedTuple):
    """Line and column, both from 1; columns count characters."""

    line: int
    column: int


class Positions:
    """Positions of the keys and values of one file, by dotted key."""

    def __init__(self, text: str) -> None:
        self._keys: dict[str, Position] = {}
        self._values: dict[str, Position] = {}
        _Scanner(text, self._keys, self._values).scan()

    def __contains__(self, key: str) -> bool:
        """True if the file states `key`, as a value or as a table."""
        return key in self._keys

    def key(self, key: str) -> Position | None:
        """Where the key is written, or its table's header; None if the file does not state it."""
        return self._keys.get(key)

    def value(self, key: str) -> Position | None:
        """Where the value begins; for a table with a header, that header."""
        return self._values.get(key) or self._keys.get(key)

    def nearest(self, key: str) -> Position | None:
        """The position of `key`, or of the nearest enclosing table that the file states."""
        found = self.value(key)
        while found is None and key:
            key = key.rpartition(".")[0]
            found = self.key(key)
        return found


class _Scanner:
    """Walks the text once and fills two mappings from dotted keys to positions."""

    def __init__(self, text: str, keys: dict[str, Position], values: dict[str, Position]) -> None:
        self._text = text
        self._offset = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._keys = keys
        self._values = values
        self._array_lengths: dict[str, int] = {}
        """Number of `[[tables]]` seen so far, by dotted key."""

    def scan(self) -> None:
        table: list[str] = []
        self._skip_blank()
        while self._offset < len(self._text):
            if self._at("["):
                table = self._header()
            else:
                self._key_and_value(table)
            self._skip_blank()

    def _header(self) -> list[str]:
        """Read `[a.b]` or `[[a.b]]` and return the table's key, items of arrays numbered."""
        start = self._offset
        brackets = 2 if self._at("[[") else 1
        self._offset += brackets
        table: list[str] = []
        for name in self._dotted_key():
            length = self._array_lengths.get(_dotted(table))
            table = [*table, *([str(length - 1)] if length else []), name]
        if brackets == 2:
            table = [*table, self._next_item(table)]
        self._note_key(table, start)
        self._skip_blank()
        self._offset += brackets
        return table

    def _next_item(self, array: list[str]) -> str:
        number = self._array_lengths.get(_dotted(array), 0)
        self._array_lengths[_dotted(array)] = number + 1
        return str(number)

    def _key_and_value(self, table: list[str]) -> None:
        start = self._offset
        key = [*table, *self._dotted_key()]
        self._note_key(key, start)
        self._skip_blank()
        self._offset += len("=")
        self._value(key)

    def _dotted_key(self) -> list[str]:
        names = [self._simple_key()]
        self._skip_blank()
        while self._at("."):
            self._offset += len(".")
            names.append(self._simple_key())
            self._skip_blank()
        return names

    def _simple_key(self) -> str:
        self._skip_blank()
        if self._at('"') or self._at("'"):
            return str(tomli.loads(f"key = {self._take(_QUOTED_KEY)}")["key"])
        return self._take(_BARE_KEY)

    def _value(self, key: list[str]) -> None:
        self._skip_blank()
        self._values.setdefault(_dotted(key), self._position(self._offset))
        if self._at("["):
            self._array(key)
        elif self._at("{"):
            self._inline_table(key)
        elif self._at('"') or self._at("'"):
            self._take(_STRING)
        else:
            self._take(_PLAIN_VALUE)

    def _array(self, key: list[str]) -> None:
        self._offset += len("[")
        self._skip_blank()
        number = 0
        while not self._at("]"):
            item = [*key, str(number)]
            self._note_key(item, self._offset)
            self._value(item)
            self._skip_separator()
            number += 1
        self._offset += len("]")

    def _inline_table(self, key: list[str]) -> None:
        self._offset += len("{")
        self._skip_blank()
        while not self._at("}"):
            self._key_and_value(key)
            self._skip_separator()
        self._offset += len("}")

    def _skip_separator(self) -> None:
        self._skip_blank()
        if self._at(","):
            self._offset += len(",")
            self._skip_blank()

    def _note_key(self, key: list[str], offset: int) -> None:
        """Note a key and, where they are only implied by it, the tables around it."""
        position = self._position(offset)
        for length in range(1, len(key) + 1):
            self._keys.setdefault(_dotted(key[:length]), position)

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

    def _position(self, offset: int) -> Position:
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)


def _dotted(key: list[str]) -> str:
    return ".".join(key)
