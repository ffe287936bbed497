"""Rows of JSON files, one at a time: a line each, or the items of one list."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from stoker.data.formats import RowError
from stoker.data.located import LONGEST_ROW, Located, Tick, bytes_of, count, text_of
from stoker.data.problems import DataError

_CHUNK_CHARACTERS = 2**20
_LONGEST_TOKEN = 16
"""Characters that a literal or an escape may lack at the end of a chunk."""
_NAME_IT_JSON = "A file that is one list of rows ends in .json."
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def open_json(path: Path) -> JsonLines | JsonArray:
    """A list of objects; or, as many files of this suffix are, one object a line."""
    with text_of(path) as file:
        first = ""
        while (chunk := file.read(4096)) and not first:
            first = chunk.lstrip()[:1]
    return JsonArray(path) if first == "[" else JsonLines(path)


class JsonLines:
    """One JSON object a line; empty lines are skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        with bytes_of(self._path) as file:
            lines = iter(lambda: file.readline(LONGEST_ROW), b"")
            return count((line for line in lines if line.strip()), tick)

    def __iter__(self) -> Iterator[Located]:
        end = number = 0
        with bytes_of(self._path) as file:
            while line := file.readline(LONGEST_ROW):
                number += 1
                end += len(line)
                if len(line) == LONGEST_ROW:
                    raise self._too_long(number)
                if number == 1:
                    line = line.removeprefix(BOM_UTF8)
                if line.strip():
                    yield Located(f"line {number}", _parse_line(line), end)

    def _too_long(self, number: int) -> DataError:
        return DataError(
            f"{self._path}, line {number}: longer than {LONGEST_ROW // 2**20} MiB.",
            hint="A row is one line; a file that is one list of rows ends in .json.",
        )


def _parse_line(line: bytes) -> Any:
    try:
        row = json.loads(line.decode().rstrip())
        if isinstance(row, list):
            return RowError("a row must be a table of columns, not a list", _NAME_IT_JSON)
        return row
    except json.JSONDecodeError as error:
        # A line that is incomplete is often one of an object that was written over several.
        is_cut = error.pos >= len(error.doc)
        starts_list = error.doc.lstrip().startswith("[")
        hint = _NAME_IT_JSON if starts_list else "Every line is one whole JSON object." if is_cut else ""
        return RowError(f"no JSON: {error.msg} (column {error.pos + 1})", hint)
    except UnicodeDecodeError as error:
        return RowError(f"not UTF-8: {error.reason}", "Save the file as UTF-8.")
    except RecursionError:
        return RowError("no JSON: nested too deeply")
    except ValueError as error:
        # An integer of thousands of digits.
        return RowError(f"no JSON: {error}")


class JsonArray:
    """The items of one list, parsed one after the other, so that memory holds a few of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self, tick: Tick) -> int:
        """How many rows there are."""
        return count(self, tick)

    def __iter__(self) -> Iterator[Located]:
        with text_of(self._path) as file:
            window = _Window(self._path, file)
            window.take("[")
            separator = "" if window.next_character() == "]" else ","
            number = 0
            while separator == ",":
                number += 1
                item = window.value()
                yield Located(f"row {number}", item, window.end)
                separator = window.take(",]")
            window.check_over(after_bracket=number == 0)


class _Window:
    """The part of a JSON text that is being looked at; it grows while a value does not fit."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file
        self._text = ""
        self._position = 0
        self._num_dropped = 0
        self._line = 1
        self._column = 1
        """Of the window's first character."""

    @property
    def end(self) -> int:
        """Characters of the file up to here."""
        return self._num_dropped + self._position

    def next_character(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            match = _WHITE_SPACE.match(self._text, self._position)
            self._position = match.end() if match else self._position
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._grow():
                return ""

    def take(self, allowed: str) -> str:
        """Step over one of the characters `allowed`; raises `DataError` for another one."""
        found = self.next_character()
        if not found or found not in allowed:
            wanted = " or ".join(repr(character) for character in allowed)
            raise self._broken(f"expected {wanted}", self._position)
        self._position += 1
        return found

    def value(self) -> Any:
        """Step over one value and return it."""
        self.next_character()
        while True:
            try:
                value, stop = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                ahead = error.pos - self._position
                if self._is_final(error) or not self._grow():
                    raise self._broken(error.msg, self._position + ahead) from error
            except RecursionError as error:
                raise self._broken("nested too deeply", self._position) from error
            except ValueError as error:
                # An integer of thousands of digits.
                raise self._broken(str(error), self._position) from error
            else:
                # A number that touches the end of the window may go on behind it.
                if stop < len(self._text) or not self._grow():
                    self._position = stop
                    return value

    def check_over(self, *, after_bracket: bool) -> None:
        """Raise `DataError` if something follows the list."""
        if after_bracket:
            self.take("]")
        if self.next_character():
            raise self._broken("more text after the end of the list", self._position)

    def _is_final(self, error: json.JSONDecodeError) -> bool:
        """True for a mistake that no further text can mend."""
        if len(self._text) - self._position > LONGEST_ROW:
            return True
        open_string = error.msg.startswith("Unterminated string")
        return not open_string and error.pos + _LONGEST_TOKEN < len(self._text)

    def _grow(self) -> bool:
        """Read on, as much again as is there: a long item is looked at a few times only."""
        left = len(self._text) - self._position
        chunk = self._file.read(max(_CHUNK_CHARACTERS, left))
        self._line, self._column = self._place(self._position)
        self._num_dropped += self._position
        self._text = self._text[self._position :] + chunk
        self._position = 0
        return bool(chunk)

    def _place(self, position: int) -> tuple[int, int]:
        """Line and column of a character of the window, from 1."""
        num_breaks = self._text.count("\n", 0, position)
        if not num_breaks:
            return self._line, self._column + position
        return self._line + num_breaks, position - self._text.rfind("\n", 0, position)

    def _broken(self, reason: str, position: int) -> DataError:
        line, column = self._place(position)
        reason = f"{reason[:1].lower()}{reason[1:]}".removesuffix(" starting at")
        return DataError(f"{self._path}, line {line}, column {column}: no JSON: {reason}.")
