"""Rows of a log as shown: filtered, and with lines that repeat folded into one."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stoker.run.log_lines import Level, at_least, may_be_serious
from stoker.run.log_order import REMARK
from stoker.run.log_query import LogQuery
from stoker.run.log_remarks import ORDER
from stoker.run.log_text import LogText, TextLine

Identity = tuple[int, int]
"""Log and start of a line, which no other has."""


class Row(NamedTuple):
    """One line, or several in a row that say the same."""

    line: TextLine
    """The first of them."""
    num_lines: int = 1
    logs: tuple[int, ...] = ()
    """Whose lines they are, in ascending order."""

    @property
    def identity(self) -> Identity:
        return self.line.log, self.line.start


@dataclass(frozen=True)
class LogFilter:
    """Which lines are shown."""

    level: Level | None = None
    """Lines as serious as this, or more; None for all."""
    query: LogQuery | None = None
    """Only what it finds; None for all."""
    happenings: bool = True
    """Whether what happened stands between the lines."""

    @property
    def is_open(self) -> bool:
        """Whether every line of the logs is shown."""
        return self.level is None and self.query is None

    def admits(self, line: TextLine) -> bool:
        if line.log == REMARK and not self.happenings and line.kind != ORDER:
            return False
        if self.level is not None and not at_least(line.level, self.level):
            return False
        return self.query is None or self.query.matches(line.text)

    def may_admit(self, text: LogText, chunk: int) -> bool:
        """False only if no line of the chunk is shown; faster than reading its lines."""
        if self.level in ("warning", "error", "critical") and not may_have_level(
            text, chunk, self.level
        ):
            return False
        return self.query is None or may_find(self.query, text, chunk)


def may_find(query: LogQuery, text: LogText, chunk: int) -> bool:
    """False only if nothing in the chunk is found; faster than reading its lines."""
    if any(query.matches(remark.text) for remark in text.remarks_in(chunk)):
        return True
    return any(map(query.may_match, text.raw(chunk)))


def may_have_level(text: LogText, chunk: int, level: Level) -> bool:
    """False only if no line of the chunk is as serious as `level`, a warning or worse."""
    if any(at_least(remark.level, level) for remark in text.remarks_in(chunk)):
        return True
    return any(map(may_be_serious, text.raw(chunk)))


def fold(lines: Sequence[TextLine], expanded: Container[Identity] = ()) -> list[Row]:
    """Rows of lines; those that repeat the one before are folded, where that is not in `expanded`."""
    rows: list[Row] = []
    text: str | None = None
    is_folded = False
    for line in lines:
        can_repeat = line.is_whole and line.log != REMARK and bool(line.text)
        if can_repeat and line.text == text and is_folded:
            row = rows[-1]
            logs = row.logs if line.log in row.logs else tuple(sorted((*row.logs, line.log)))
            rows[-1] = Row(row.line, row.num_lines + 1, logs)
            continue
        if line.text != text or not can_repeat:
            text = line.text if can_repeat else None
            is_folded = can_repeat and (line.log, line.start) not in expanded
        rows.append(Row(line, 1, (line.log,)))
    return rows
