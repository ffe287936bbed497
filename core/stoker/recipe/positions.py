"""Line and column of each key and each value of a TOML file, by dotted key."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from stoker.recipe.toml_spans import find_spans


class Position(NamedTuple):
    """Line and column, both from 1; columns count characters."""

    line: int
    column: int


class Positions:
    """Positions of the keys and values of one file, by dotted key."""

    def __init__(self, text: str) -> None:
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._keys: dict[str, Position] = {}
        self._values: dict[str, Position] = {}
        for span in find_spans(text):
            place = self._position(span.key_start)
            # Tables around a key that are only implied by it are noted there too.
            for length in range(1, len(span.path) + 1):
                self._keys.setdefault(".".join(span.path[:length]), place)
            if span.kind in ("key", "item"):
                self._values.setdefault(".".join(span.path), self._position(span.start))

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

    def _position(self, offset: int) -> Position:
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)
