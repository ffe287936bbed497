"""Finds the next row of a log that is searched for, however far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stoker.run.log_lines import at_least
from stoker.run.log_query import LogQuery
from stoker.run.log_text import LogText
from stoker_tui.models.log_rows import LogFilter, Row, fold, may_find, may_have_level
from stoker_tui.models.log_view import LogView, Position


@dataclass(frozen=True)
class Search:
    """What a thread needs to look through a log; nothing of it changes meanwhile."""

    text: LogText
    filter: LogFilter
    expanded: frozenset[tuple[int, int]]
    start: Position
    query: LogQuery | None
    """What is searched for; None: an error."""

    @classmethod
    def of(cls, view: LogView, query: LogQuery | None) -> Search:
        """From where the view stands."""
        expanded = frozenset(view.expanded)
        return cls(view.text.frozen(), view.filter, expanded, view.cursor, query)

    def find(
        self, *, back: bool = False, should_stop: Callable[[], bool] = lambda: False
    ) -> Position | None:
        """The nearest row after the start, or before it, that is searched for; goes round at the end."""
        for chunk, first, last in self._ways(back):
            if should_stop():
                return None
            if not self._may_find(chunk):
                continue
            rows = self._rows(chunk)[first:last]
            numbered = list(enumerate(rows, start=first))
            for number, row in reversed(numbered) if back else numbered:
                if self._is_found(row):
                    return Position(chunk, number)
        return None

    def _ways(self, back: bool) -> Iterator[tuple[int, int, int | None]]:
        """Chunks in turn with the rows to look at: the rest of the first one comes last again."""
        here, row = self.start
        count = self.text.num_chunks
        if not count:
            return
        ahead: tuple[int, int, int | None] = (here, row + 1, None)
        behind: tuple[int, int, int | None] = (here, 0, row + 1)
        others = ((here + step) % count for step in range(1, count))
        if back:
            ahead, behind = (here, 0, row), (here, row, None)
            others = ((here - step) % count for step in range(1, count))
        yield ahead
        yield from ((chunk, 0, None) for chunk in others)
        yield behind

    def _may_find(self, chunk: int) -> bool:
        if self.query is None:
            return may_have_level(self.text, chunk, "error")
        return may_find(self.query, self.text, chunk)

    def _rows(self, chunk: int) -> list[Row]:
        return fold(list(filter(self.filter.admits, self.text.lines(chunk))), self.expanded)

    def _is_found(self, row: Row) -> bool:
        if self.query is None:
            return at_least(row.line.level, "error")
        return self.query.matches(row.line.text)
