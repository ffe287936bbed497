"""Which runs the table shows, in which order, and the words about all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stoker.run.lines import format_usd
from stoker.run.overview import RunRow
from stoker.run.query import Query, QueryError, parse_query
from stoker.run.row_keys import TEXTS, sort_rows

LETTERS = {
    "a": ("age", "age"),
    "n": ("name", "name"),
    "s": ("state", "state"),
    "m": ("model", "model"),
    "t": ("step", "step"),
    "l": ("loss", "loss"),
    "v": ("eval", "evaluation loss"),
    "k": ("tokens", "tokens/s"),
    "u": ("usd", "money spent"),
    "e": ("eta", "time left"),
    "r": ("ranks", "ranks"),
    "d": ("time", "duration"),
}
"""What `o` and a letter sort by: a key of queries, and its name."""
_BEST_FIRST = frozenset({"age", "loss", "eval", "eta"})
"""Sorted upwards at first; other numbers downwards."""


@dataclass(frozen=True)
class RunsView:
    """What filter and order make of the rows of an index."""

    query: Query
    error: QueryError | None = None
    """Why the latest text is no query; then `query` is what stands before its last word."""
    sort: str = "age"
    descending: bool = False

    @classmethod
    def begin(cls) -> RunsView:
        """All runs, the youngest first."""
        return cls(parse_query(""))

    def filtered_by(self, text: str) -> RunsView:
        """With another filter."""
        try:
            return replace(self, query=parse_query(text), error=None)
        except QueryError as error:
            return replace(self, query=_before_last_word(text) or self.query, error=error)

    def sorted_by(self, key: str) -> RunsView:
        """In the order of that key; the other way round if it is the same again."""
        if key == self.sort:
            return replace(self, descending=not self.descending)
        return replace(self, sort=key, descending=key not in _BEST_FIRST and key not in TEXTS)

    def rows(self, rows: Sequence[RunRow], now: float) -> list[RunRow]:
        """Those that are shown, in their order."""
        wanted = [row for row in rows if self.query.matches(row, now)]
        return sort_rows(wanted, self.sort, descending=self.descending, now=now)

    def words(self, num_shown: int, rows: Sequence[RunRow]) -> str:
        """`12 of 148 runs, 2 at work at $63.84/h  sort: age`."""
        words = f"{len(rows):,} runs" if len(rows) != 1 else "1 run"
        if num_shown != len(rows):
            words = f"{num_shown:,} of {words}"
        active = [row for row in rows if row.is_active]
        if active:
            rate = sum(row.usd_per_hour or 0.0 for row in active)
            words += f", {len(active)} at work" + (f" at {format_usd(rate)}/h" if rate else "")
        name = next(name for key, name in LETTERS.values() if key == self.sort)
        return f"{words}  sort: {name} {'▼' if self.descending else '▲'}"


def _before_last_word(text: str) -> Query | None:
    """While a word is typed, those before it count."""
    try:
        return parse_query(text.rstrip().rpartition(" ")[0])
    except QueryError:
        return None
