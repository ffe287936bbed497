"""Numbers of a run by step, in columns: what charts draw."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Final, Literal

from stoker.run.events import Event
from stoker_tui.models.cells import NAN, ascending_of, integers_of, numbers_of

Axis = Literal["step", "tokens", "time"]

_NO_COLUMNS: Final = frozenset(
    {
        "v",
        "t",
        "attempt",
        "rank",
        "kind",
        "step",
        "total_steps",
        "tokens",
        "supervised_tokens",
        "non_finite",
    }
)
_MOST_COLUMNS: Final = 64


class StepTable:
    """Rows in order of steps; those of a superseded attempt are cut off.

    Columns are arrays of one length that keep their identity, and only ever grow or are cut. Only the
    thread that changes the table may read them. Take no memoryview of them: it keeps them from
    growing.
    """

    def __init__(self, names: Iterable[str] | None = None) -> None:
        """`names`: the columns to keep; None for every number that rows have."""
        self.revision = 0
        """Grows with every change."""
        self.attempt = 0
        """The attempt that appended last."""
        self.late_rows = 0
        """Rows that were left out since a later attempt, or the same one, had written those steps."""
        self._wanted = None if names is None else frozenset(names)
        self._steps = array("q")
        self._tokens = array("d")
        self._times = array("d")
        self._columns: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that at least one row had a value for, in the order of their coming."""
        return tuple(self._columns)

    def axis(self, name: Axis) -> Sequence[float]:
        """Steps, tokens since the run began, or Unix seconds; ascending, whatever clocks say."""
        axes: dict[Axis, Sequence[float]] = {
            "step": self._steps,
            "tokens": self._tokens,
            "time": self._times,
        }
        return axes[name]

    def column(self, name: str) -> Sequence[float]:
        """Values of a metric as 32-bit floats: infinite where not finite, NaN where missing.

        Raises `KeyError` for a name that is not in `names`.
        """
        return self._columns[name]

    def latest(self, name: str) -> float:
        """The last row's value, infinite and NaN as in its column; NaN without one."""
        column = self._columns.get(name)
        return column[-1] if column else NAN

    @property
    def last_step(self) -> int:
        """Of the last row; 0 without one."""
        return self._steps[-1] if self._steps else 0

    def tokens_at(self, step: int) -> float:
        """Tokens up to the last row that is not after `step`; 0 before the first."""
        row = bisect_right(self._steps, step)
        return self._tokens[row - 1] if row else 0.0

    def supersede(self, attempt: int, step: int) -> None:
        """An attempt goes on after `step`: forget the rows after it, unless a later one wrote them."""
        if attempt >= self.attempt:
            self.attempt = attempt
            self._cut(step)

    def _cut(self, step: int) -> None:
        row = bisect_right(self._steps, step)
        if row < len(self):
            del self._steps[row:]
            for column in (self._tokens, self._times, *self._columns.values()):
                del column[row:]
            self.revision += 1

    def append(self, rows: Sequence[Event]) -> None:
        """Take in rows, oldest first: `step`, `t`, `attempt`, `tokens` and metrics.

        A row of a later attempt supersedes those from its step on; one of an earlier attempt is left
        out, and so is what is no row.
        """
        steps = integers_of(rows, "step")
        attempts = integers_of(rows, "attempt")
        if steps is None or attempts is None:
            good = [row for row in rows if _is_row(row)]
            if good:
                self.append(good)
            return
        if all(a < b for a, b in pairwise(steps)) and len(set(attempts)) <= 1:
            self._append_run(rows, steps, attempts)
        else:
            for at, row in enumerate(rows):
                self._append_run([row], steps[at : at + 1], attempts[at : at + 1])

    def _append_run(self, rows: Sequence[Event], steps: array[int], attempts: array[int]) -> None:
        """Take in rows of one attempt whose steps ascend."""
        if not rows:
            return
        if attempts[0] < self.attempt:
            self.late_rows += len(rows)
            return
        if attempts[0] > self.attempt:
            self.attempt = attempts[0]
            self._cut(steps[0] - 1)
        known = bisect_right(steps, self.last_step) if self._steps else 0
        if known:
            # The same steps once more by the same attempt: two processes write.
            self.late_rows += known
            rows, steps = rows[known:], steps[known:]
        if rows:
            self._extend(rows, steps)
            self.revision += 1

    def _extend(self, rows: Sequence[Event], steps: array[int]) -> None:
        before = len(self)
        self._steps.extend(steps)
        self._tokens.extend(ascending_of(rows, "tokens", self._tokens[-1] if before else 0.0))
        self._times.extend(ascending_of(rows, "t", self._times[-1] if before else 0.0))
        for name in self._names_in(rows):
            if name not in self._columns and len(self._columns) < _MOST_COLUMNS:
                values = numbers_of(rows, name)
                if all(value != value for value in values):
                    continue
                self._columns[name] = array("f", [NAN]) * before
                self._columns[name].extend(values)
        for name, column in self._columns.items():
            if len(column) == before:
                column.extend(numbers_of(rows, name))

    def _names_in(self, rows: Sequence[Event]) -> Iterable[str]:
        if self._wanted is not None:
            return self._wanted
        return [name for name in dict.fromkeys(chain.from_iterable(rows)) if name not in _NO_COLUMNS]


def _is_row(row: Event) -> bool:
    return integers_of([row], "step") is not None and integers_of([row], "attempt") is not None
