"""Lines of logs as people read them: nothing that steers a terminal, and how serious each is."""

from __future__ import annotations

import re
import time
from typing import Final, Literal, get_args

from stoker.recipe.problems import printable

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""From the least serious to the most."""

MOST_CHARACTERS: Final = 8_192
"""Longer lines are cut, with a mark."""

# Colours, cursor movements, titles and links; what is left of escape sequences is shown, not sent.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z])")
_HEAD_CHARACTERS = 240
_RANK_PREFIX = re.compile(r"\[(?:default|rank)?\d+\]:\s?")
_GLOG = re.compile(r"\[?([DIWEF])\d{4} \d\d:\d\d:\d\d")
_WORD = re.compile(
    r"\b(DEBUG|TRACE|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b"
    r"|\b\w*Warning:|\b(?:warning|error|fatal):"
    r"|\b(?:\w+\.)*\w*(?:Error|Exception|Interrupt):"
    r"|CUDA out of memory|Segmentation fault|Fatal Python error|terminate called|core dumped"
)
_EXCEPTION = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Iteration)(?::|$)")
_BLOCK = re.compile(r"Traceback \(most recent call last\):|\(most recent call first\):")
_CHAIN = re.compile(r"(?:During handling of the above exception|The above exception was the direct)")

# One after the other is ten times as fast as one expression for all.
_SERIOUS_BYTES = (
    b"WARN", b"ERROR", b"CRITICAL", b"FATAL", b"arning:", b"rror:", b"atal:", b"Exception:",
    b"Interrupt:", b"out of memory", b"Segmentation", b"Fatal", b"terminate", b"dumped",
    b"most recent call", b"exception",
)  # fmt: skip
_GLOG_BYTES = re.compile(rb"[WEF]\d{4} \d\d:")

_BY_LETTER: dict[str, Level] = {
    "D": "debug",
    "I": "info",
    "W": "warning",
    "E": "error",
    "F": "critical",
}
_BY_WORD: dict[str, Level] = {
    "DEBUG": "debug",
    "TRACE": "debug",
    "INFO": "info",
    "WARNING": "warning",
    "WARN": "warning",
    "ERROR": "error",
    "CRITICAL": "critical",
    "FATAL": "critical",
    "Segmentation fault": "critical",
    "Fatal Python error": "critical",
    "terminate called": "critical",
    "core dumped": "critical",
}


def plain(raw: bytes) -> str:
    """A line for the screen: without colours, control characters escaped, cut where it is very long."""
    text = raw.decode("utf-8", "replace")
    if "\x1b" in text:
        text = _SEQUENCE.sub("", text)
    text = text.rstrip("\r\n")
    if "\t" in text:
        text = text.expandtabs(8)
    if len(text) > MOST_CHARACTERS:
        more = len(text) - MOST_CHARACTERS
        text = f"{text[:MOST_CHARACTERS]} ... ({more:,} more characters)"
    return printable(text.replace("\n", "\\n"))


class LevelReader:
    """How serious the lines of one log are, read one after the other: a traceback is one error."""

    def __init__(self) -> None:
        self._in_block = False

    def level_of(self, text: str) -> Level | None:
        """The level of the next line; None where it says none, as what is printed."""
        if match := _RANK_PREFIX.match(text):
            text = text[match.end() :]
        if self._in_block:
            if not text or text[0] in " \t|+" or _CHAIN.match(text) or _BLOCK.search(text):
                return "error"
            if text.startswith(("Thread 0x", "Current thread 0x")):
                return "error"
            self._in_block = False
            if _EXCEPTION.match(text):
                return "error"
        elif _BLOCK.search(text, 0, _HEAD_CHARACTERS):
            self._in_block = True
            return "error"
        return stated_level(text)


def stated_level(text: str) -> Level | None:
    """The level that a line states by itself."""
    if match := _GLOG.match(text):
        return _BY_LETTER[match[1]]
    found = _WORD.search(text, 0, _HEAD_CHARACTERS)
    if found is None:
        return "error" if _CHAIN.match(text) else None
    word = found[0]
    if word in _BY_WORD:
        return _BY_WORD[word]
    return "warning" if word.lower().endswith("warning:") else "error"


def at_least(level: Level | None, least: Level) -> bool:
    """Whether a line is shown where `least` is asked for; what states no level counts as `info`."""
    return LEVELS.index(level or "info") >= LEVELS.index(least)


def time_words(t: float | None) -> str:
    """`12:41:07` in local time, blanks of that width if not known."""
    return time.strftime("%H:%M:%S", time.localtime(t)) if t is not None else " " * 8


def may_be_serious(raw: bytes) -> bool:
    """False only if no line in these bytes of a log is a warning or worse; faster than reading them."""
    return any(word in raw for word in _SERIOUS_BYTES) or _GLOG_BYTES.search(raw) is not None
