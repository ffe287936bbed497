"""The words of a query, and where each begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from stoker.errors import UsageError

Kind = Literal["word", "regex", "test", "OR", "AND", "NOT", "(", ")"]


class QueryError(UsageError):
    """A query that cannot be understood."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"column {column}: {message}")
        self.reason = message
        self.column = column
        """Counted from 1."""


@dataclass(frozen=True)
class Token:
    """One word, test or sign of a query. Columns count from 1."""

    kind: Kind
    text: str
    column: int
    value: str = ""
    """The word, the regular expression, or what stands behind the operator, without quotes."""
    value_column: int = 0
    key: str = ""
    operator: str = ""
    is_regex: bool = False
    is_quoted: bool = False


_KEY = re.compile(r"([A-Za-z_]\w*)(:|<=|>=|!=|<|>|=)")
_WORD = re.compile(r"[^\s()\"]+")
_SIGNS: dict[str, Kind] = {"OR": "OR", "AND": "AND", "NOT": "NOT"}


def tokenize(text: str) -> list[Token]:
    """The tokens of a query. Raises `QueryError` for a quote or a regular expression without an end."""
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        token, place = _token(text, place)
        tokens.append(token)
    return tokens


def _token(text: str, place: int) -> tuple[Token, int]:
    character, column = text[place], place + 1
    if character in "()":
        return Token("(" if character == "(" else ")", character, column), place + 1
    if character == "!":
        return Token("NOT", character, column), place + 1
    if match := _KEY.match(text, place):
        value, is_regex, is_quoted, end = _value(text, match.end())
        shown = text[place:end]
        key, sign = match.groups()
        return Token("test", shown, column, value, match.end() + 1, key, sign, is_regex, is_quoted), end
    value, is_regex, is_quoted, end = _value(text, place)
    shown = text[place:end]
    kind: Kind = "regex" if is_regex else "word"
    if shown in _SIGNS and not is_quoted:
        kind = _SIGNS[shown]
    return Token(kind, shown, column, value, column, is_regex=is_regex, is_quoted=is_quoted), end


def _value(text: str, place: int) -> tuple[str, bool, bool, int]:
    """A word, quoted text or a regular expression; whether it is the latter; whether quoted; its end."""
    for sign, name in (('"', "quote"), ("/", "regular expression")):
        if text[place : place + 1] == sign:
            end = text.find(sign, place + 1)
            if end < 0:
                raise QueryError(f"this {name} is never closed", place + 1)
            return text[place + 1 : end], sign == "/", sign == '"', end + 1
    match = _WORD.match(text, place)
    return ("", False, False, place) if match is None else (match[0], False, False, match.end())
