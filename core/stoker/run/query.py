"""Questions about runs: `state:run loss<2 NOT failed OR has:eval`. For `stoker runs` and the cockpit.

Words stand beside each other where both must hold; OR binds weaker, NOT (or !) stronger; parentheses
group. A word is looked for in name, state, model and method. `key:text` looks in one key, `key=text`
wants all of it, `/regex/` stands where text does, `key<2` compares (`age<2h`, `tokens>70k`), `has:key`
asks whether there is a value. Quotes make words of anything.
"""

from __future__ import annotations

import math
import operator
import re
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stoker.recipe.problems import did_you_mean
from stoker.run.overview import RunRow
from stoker.run.query_tokens import QueryError, Token, tokenize
from stoker.run.row_keys import GETTERS, KEYS, TEXTS, TIMES, Getter

__all__ = ["KEYS", "Query", "QueryError", "complete", "parse_query"]

Test = Callable[[RunRow, float], bool]
"""Whether a row is wanted, at a time in Unix seconds."""
_SEARCHED: Final = ("name", "state", "model", "method")

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": lambda a, b: a == b or (math.isnan(a) and math.isnan(b)),
    "!=": lambda a, b: a != b and not (math.isnan(a) and math.isnan(b)),
}
_NUMBER = re.compile(r"\$?(-?\d{1,30}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,3})?)([A-Za-z]?)")
_FACTORS: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "G": 1e9, "B": 1e9}
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DEEPEST: Final = 40


@dataclass(frozen=True)
class Query:
    """A question about a run."""

    text: str
    test: Test

    def matches(self, row: RunRow, now: float | None = None) -> bool:
        """Whether the run is asked for. `now` is in Unix seconds; ages go by it."""
        return self.test(row, time.time() if now is None else now)


def parse_query(text: str) -> Query:
    """What the text asks for; an empty one asks for every run. Raises `QueryError`."""
    parser = _Parser(tokenize(text), len(text) + 1)
    return Query(text, parser.whole())


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, tokens: Sequence[Token], end: int) -> None:
        self._tokens = tokens
        self._place = 0
        self._end = end
        """The column behind the last character."""
        self._depth = 0

    def whole(self) -> Test:
        if not self._tokens:
            return lambda row, now: True
        test = self._any()
        if (token := self._next()) is not None:
            raise QueryError(f"{token.text} is not expected here", token.column)
        return test

    def _next(self) -> Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _takes(self, kind: str) -> bool:
        token = self._next()
        if token is None or token.kind != kind:
            return False
        self._place += 1
        return True

    def _any(self) -> Test:
        tests = [self._all()]
        while self._takes("OR"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda row, now: any(test(row, now) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while (token := self._next()) is not None and token.kind not in ("OR", ")"):
            self._takes("AND")
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row, now: all(test(row, now) for test in tests)

    def _one(self) -> Test:
        is_wanted = True
        while self._takes("NOT"):
            is_wanted = not is_wanted
        test = self._atom()
        return test if is_wanted else lambda row, now: not test(row, now)

    def _atom(self) -> Test:
        token = self._next()
        if token is None:
            raise QueryError("something is missing at the end", self._end)
        self._place += 1
        if token.kind == "(":
            return self._group(token)
        if token.kind in ("word", "regex"):
            found = _finder(token)
            return lambda row, now: any(found(str(GETTERS[key](row, now))) for key in _SEARCHED)
        if token.kind == "test":
            return _key_test(token)
        raise QueryError(f"{token.text} is not expected here", token.column)

    def _group(self, start: Token) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError("too many parentheses", start.column)
        test = self._any()
        if not self._takes(")"):
            raise QueryError("this parenthesis is never closed", start.column)
        self._depth -= 1
        return test


def _finder(token: Token) -> Callable[[str], bool]:
    """Whether a text has the token's words, or what its regular expression describes."""
    if token.kind != "regex" and not token.is_regex:
        wanted = token.value.casefold()
        return lambda text: wanted in text.casefold()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pattern = re.compile(token.value, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise QueryError(f"not a regular expression: {error}", token.value_column) from error
    return lambda text: pattern.search(text) is not None


def _key_test(token: Token) -> Test:
    if token.key == "has":
        getter = _getter(token.value, token.value_column)
        return lambda row, now: getter(row, now) not in (None, "")
    getter = _getter(token.key, token.column)
    if not token.value and not token.is_quoted:
        raise QueryError(f"{token.key}{token.operator} wants a value", token.value_column)
    return (_text_test if token.key in TEXTS else _number_test)(token, getter)


def _getter(key: str, column: int) -> Getter:
    if key not in GETTERS:
        hint = did_you_mean(key, KEYS) or f"There are: {', '.join(KEYS)}."
        raise QueryError(f"there is no key {key!r}. {hint}", column)
    return GETTERS[key]


def _text_test(token: Token, getter: Getter) -> Test:
    if token.operator == ":":
        found = _finder(token)
        return lambda row, now: found(str(getter(row, now)))
    if token.operator not in ("=", "!="):
        raise QueryError(f"{token.key} is text: use : or =", token.column)
    wanted, is_equal = token.value.casefold(), token.operator == "="
    return lambda row, now: (str(getter(row, now)).casefold() == wanted) == is_equal


def _number_test(token: Token, getter: Getter) -> Test:
    compare = _COMPARE[token.operator.replace(":", "=")]
    limit = _number(token)

    def test(row: RunRow, now: float) -> bool:
        value = getter(row, now)
        return isinstance(value, int | float) and compare(value, limit)

    return test


def _number(token: Token) -> float:
    if token.value.casefold() == "nan":
        return math.nan
    match = _NUMBER.fullmatch(token.value)
    factors = _SECONDS if token.key in TIMES else _FACTORS
    if match is None or match[2] not in factors:
        example = "90, 15m, 2h or 3d" if token.key in TIMES else "2, 0.5, 1e-5, 70k or nan"
        raise QueryError(f"{token.value} is no number: write {example}", token.value_column)
    return float(match[1]) * factors[match[2]]


def complete(text: str) -> list[str]:
    """The text with its last word completed, for each way to do that."""
    start = re.search(r"(?:has:)?[A-Za-z]*$", text)
    word = start[0] if start else ""
    begin, has, key = text[: len(text) - len(word)], word.startswith("has:"), word.removeprefix("has:")
    if not key and not has:
        return []
    choices = [f"has:{each}" if has else each + _ending(each) for each in KEYS if each.startswith(key)]
    return [begin + choice for choice in choices if choice != word]


def _ending(key: str) -> str:
    return ":" if key in TEXTS else "<"
