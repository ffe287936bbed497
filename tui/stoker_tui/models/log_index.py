"""How many rows and matches each chunk of a log has, counted in the background."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from stoker.run.log_query import LogQuery
from stoker.run.log_text import LogText
from stoker_tui.models.log_rows import LogFilter, Row, fold, may_find

UNKNOWN = -1


class LogIndex:
    """Counts of one text under one filter; chunks that the text may still change are counted again."""

    def __init__(self, filter_: LogFilter, query: LogQuery | None) -> None:
        """`query` is what is searched for among the rows that the filter lets through."""
        self.filter = filter_
        self.query = query
        self._rows = array("l")
        self._matches = array("l")

    @property
    def is_needed(self) -> bool:
        """Without filter and search every chunk has rows, and none matches."""
        return not self.filter.is_open or self.query is not None

    def fit(self, text: LogText) -> None:
        """The text has grown: what it may have changed is not known any more."""
        keep = min(len(self._rows), text.num_settled_chunks)
        for counts in (self._rows, self._matches):
            del counts[keep:]
            counts.extend([UNKNOWN] * (text.num_chunks - keep))

    def work(
        self, text: LogText, should_stop: Callable[[], bool], tell: Callable[[], None] = lambda: None
    ) -> None:
        """Count what is not known, from the end. `text` is frozen; `tell` is called after each chunk."""
        for chunk in reversed(range(min(text.num_chunks, len(self._rows)))):
            if should_stop():
                return
            if self._rows[chunk] == UNKNOWN:
                rows, matches = self._count(text, chunk)
                if should_stop() or chunk >= len(self._rows):
                    return
                self._matches[chunk] = matches
                self._rows[chunk] = rows
                tell()

    def is_known_empty(self, chunk: int) -> bool:
        return chunk < len(self._rows) and self._rows[chunk] == 0

    def is_known(self, chunk: int) -> bool:
        return chunk < len(self._rows) and self._rows[chunk] != UNKNOWN

    @property
    def fraction(self) -> float:
        """How much is counted, 0 to 1."""
        return 1.0 - self._rows.count(UNKNOWN) / len(self._rows) if self._rows else 1.0

    @property
    def num_matches(self) -> int:
        """As far as they are counted."""
        return sum(count for count in self._matches if count > 0)

    def matches_before(self, chunk: int) -> int:
        """In earlier chunks, as far as they are counted."""
        return sum(count for count in self._matches[:chunk] if count > 0)

    def _count(self, text: LogText, chunk: int) -> tuple[int, int]:
        if not self.filter.is_open and not self.filter.may_admit(text, chunk):
            return 0, 0
        if self.filter.is_open and self.query is not None and not may_find(self.query, text, chunk):
            # It has rows, and how many does not matter.
            return 1, 0
        rows = fold(list(filter(self.filter.admits, text.lines(chunk))))
        return len(rows), count_matches(rows, self.query)


def count_matches(rows: list[Row], query: LogQuery | None) -> int:
    """How many of these rows are found."""
    return 0 if query is None else sum(query.matches(row.line.text) for row in rows)
