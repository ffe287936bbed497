"""A window over a log: where it stands, what it shows, and how it moves."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from stoker.run.log_query import LogQuery
from stoker.run.log_text import LogText
from stoker_tui.models.log_index import LogIndex, count_matches
from stoker_tui.models.log_rows import Identity, LogFilter, Row, fold

_CACHED_CHUNKS = 24
BUDGET_SECONDS: Final = 0.1
"""A key is answered within that, found or not: the background goes on looking."""

Heights = Callable[[Row], int]


class Position(NamedTuple):
    """A row: its chunk, and its number there."""

    chunk: int
    row: int


class Window(NamedTuple):
    """What is shown."""

    rows: list[tuple[Position, Row]]
    skipped: int = 0
    """Screen lines of the first row that are above the window."""


class LogView:
    """One pane's view of a text. Nothing is read but what is looked at, and what lies in between."""

    def __init__(self, text: LogText, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, for the budget of a movement."""
        self.text = text
        self.filter = LogFilter()
        self.query: LogQuery | None = None
        self.index = LogIndex(self.filter, None)
        self.is_following = True
        self.expanded: set[Identity] = set()
        self.cursor = Position(0, 0)
        self._top = Position(0, 0)
        self._bottom = Position(0, 0)
        self._clock = clock
        self._cache: OrderedDict[int, tuple[int, list[Row]]] = OrderedDict()
        self._generation = text.generation
        self.changed()

    def changed(self) -> None:
        """The text has changed."""
        if self.text.generation != self._generation:
            self._generation = self.text.generation
            self.expanded.clear()
            self._forget()
        self.index.fit(self.text)
        if self.is_following:
            self.end()

    def set_filter(self, filter_: LogFilter, query: LogQuery | None) -> None:
        """Show what the filter lets through, and search for `query` in it; the line stays if it can."""
        if (filter_, query) == (self.filter, self.query):
            return
        here = self.current()
        self.filter, self.query = filter_, query
        self._forget()
        self.index.fit(self.text)
        if self.is_following or here is None:
            self.end()
        else:
            self._go_near(self.cursor.chunk, here.line.start, here.line.log)

    def rows(self, chunk: int) -> list[Row]:
        """Rows of a chunk."""
        stable = chunk < self.text.num_settled_chunks
        revision, rows = self._cache.get(chunk, (-1, []))
        if revision == self.text.revision or (revision >= 0 and stable and _is_complete(rows)):
            self._cache.move_to_end(chunk)
            return rows
        rows = fold(list(filter(self.filter.admits, self.text.lines(chunk))), self.expanded)
        self._cache[chunk] = (self.text.revision, rows)
        self._cache.move_to_end(chunk)
        while len(self._cache) > _CACHED_CHUNKS:
            self._cache.popitem(last=False)
        return rows

    def current(self) -> Row | None:
        """The row under the cursor; None where nothing is shown."""
        rows = self.rows(self.cursor.chunk) if self.cursor.chunk < self.text.num_chunks else []
        return rows[self.cursor.row] if self.cursor.row < len(rows) else None

    def move(self, count: int) -> None:
        """Move the cursor by so many rows; stops following where it leaves the end."""
        self._settle()
        ahead = self.after(self.cursor) if count > 0 else self.before(self.cursor)
        for _ in range(abs(count)):
            if (position := next(ahead, None)) is None:
                break
            self.cursor = position
        self.is_following = count > 0 and next(self.after(self.cursor), None) is None

    def page(self, count: int) -> None:
        """Move by so many rows from the edge of the window, so that all of it is new."""
        if count < 0 and self._top < self.cursor:
            self.cursor = self._top
        elif count > 0 and self._bottom > self.cursor:
            self.cursor = self._bottom
        self.move(count)

    def home(self) -> None:
        """To the first row."""
        self.is_following = False
        self.cursor = next(self.after(Position(0, -1)), self.cursor)

    def end(self) -> None:
        """To the last row."""
        self.cursor = next(self.before(Position(self.text.num_chunks, 0)), self.cursor)

    def follow(self, is_following: bool) -> None:
        """Stay at the end as the log grows, or not."""
        self.is_following = is_following
        if is_following:
            self.end()

    def go(self, position: Position) -> None:
        """To a row that was found."""
        self.is_following = False
        self.cursor = position

    def toggle_fold(self) -> bool:
        """Unfold the row under the cursor, or fold it again. Returns whether there is anything to."""
        row = self.current()
        if row is None or (row.num_lines == 1 and row.identity not in self.expanded):
            return False
        self.expanded ^= {row.identity}
        self._cache.pop(self.cursor.chunk, None)
        self.is_following = False
        return True

    def window(self, height: int, heights: Heights = lambda row: 1) -> Window:
        """Rows for so many screen lines, the cursor's among them. `heights`: screen lines of a row."""
        self._settle()
        if self.current() is None:
            return Window([])
        window = self._window(height, heights)
        self._bottom = window.rows[-1][0]
        return window

    def after(self, position: Position) -> Iterator[Position]:
        """Rows after a position, as far as the budget reaches."""
        deadline = None
        for chunk in range(max(0, position.chunk), self.text.num_chunks):
            if self.index.is_known_empty(chunk):
                continue
            if not self.index.is_known(chunk) and deadline is not None and self._clock() > deadline:
                return
            deadline = deadline or self._clock() + BUDGET_SECONDS
            first = position.row + 1 if chunk == position.chunk else 0
            yield from (Position(chunk, row) for row in range(first, len(self.rows(chunk))))

    def before(self, position: Position) -> Iterator[Position]:
        """Rows before a position, the nearest first, as far as the budget reaches."""
        deadline = None
        for chunk in reversed(range(min(position.chunk + 1, self.text.num_chunks))):
            if self.index.is_known_empty(chunk):
                continue
            if not self.index.is_known(chunk) and deadline is not None and self._clock() > deadline:
                return
            deadline = deadline or self._clock() + BUDGET_SECONDS
            stop = len(self.rows(chunk))
            if chunk == position.chunk:
                stop = min(stop, position.row)
            yield from (Position(chunk, row) for row in reversed(range(stop)))

    @property
    def fraction(self) -> float:
        """Where the cursor stands, 0 at the start and 1 at the end."""
        count = self.text.num_chunks
        if not count or self.is_following:
            return 1.0
        rows = len(self.rows(self.cursor.chunk)) if self.cursor.chunk < count else 0
        return min(1.0, (self.cursor.chunk + (self.cursor.row + 1) / max(1, rows)) / count)

    def match_number(self) -> int:
        """Which match the cursor stands on, from 1; 0 if on none, as far as matches are counted."""
        row = self.current()
        if self.query is None or row is None or not self.query.matches(row.line.text):
            return 0
        rows = self.rows(self.cursor.chunk)[: self.cursor.row + 1]
        return self.index.matches_before(self.cursor.chunk) + count_matches(rows, self.query)

    def _window(self, height: int, heights: Heights) -> Window:
        if self.is_following:
            return self._fill_back(height, heights)
        if self.cursor <= self._top:
            self._top = self.cursor
        window = self._fill(height, heights)
        if all(position != self.cursor for position, _ in window.rows):
            return self._fill_back(height, heights)
        used = sum(heights(row) for _, row in window.rows)
        last, _ = window.rows[-1]
        if used < height or (last == self.cursor and used > height and len(window.rows) > 1):
            return self._fill_back(height, heights, keep=used < height)
        return window

    def _fill(self, height: int, heights: Heights) -> Window:
        rows, used = [], 0
        for position in self._from(self._top):
            row = self.rows(position.chunk)[position.row]
            rows.append((position, row))
            used += heights(row)
            if used >= height:
                break
        return Window(rows)

    def _from(self, position: Position) -> Iterator[Position]:
        return self.after(position._replace(row=position.row - 1))

    def _fill_back(self, height: int, heights: Heights, *, keep: bool = False) -> Window:
        """The window that ends with the cursor's row; with `keep`, with the last row there is."""
        last = self.cursor
        if keep:
            *_, last = self._from(self.cursor)
        rows, used = [], 0
        for position in self.before(last._replace(row=last.row + 1)):
            row = self.rows(position.chunk)[position.row]
            rows.append((position, row))
            used += heights(row)
            if used >= height:
                break
        rows.reverse()
        self._top = rows[0][0]
        if rows[-1][0] == self.cursor:
            return Window(rows, max(0, used - height) if len(rows) > 1 else 0)
        return Window(rows, max(0, used - height))

    def _settle(self) -> None:
        """The cursor onto a row, where lines have moved or are gone."""
        if self.current() is None:
            here = self.cursor
            found = next(self.before(here), None) or next(self.after(here), None)
            self.cursor = found or Position(0, 0)

    def _go_near(self, chunk: int, start: int, log: int) -> None:
        """To the row of that line, else the next one after it, else the one before."""
        rows = self.rows(chunk) if chunk < self.text.num_chunks else []
        for number, row in enumerate(rows):
            if row.line.log == log and row.line.start >= start:
                self.cursor = Position(chunk, number)
                return
        here = Position(chunk, len(rows))
        self.cursor = next(self.after(here), None) or next(self.before(here), None) or Position(0, 0)

    def _forget(self) -> None:
        self._cache.clear()
        self.index = LogIndex(self.filter, self.query)


def _is_complete(rows: list[Row]) -> bool:
    return all(row.line.is_whole for row in rows)
