"""Rows that cannot be used: counted and shown by example; refused or, if the recipe says so, skipped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.data.problems import DataError, RowError

if TYPE_CHECKING:
    from stoker.recipe.schema import DataTable

_ENOUGH = 100
"""Bad rows of a source that is refused, after which there is no point in looking for more."""
_NUM_REASONS = 3
_NUM_PLACES = 3


@dataclass(frozen=True)
class BadRowPolicy:
    """What a recipe says about rows that cannot be used."""

    skip: bool = False
    max_share: float = 0.0
    """Share of a source's rows that may be skipped."""

    @classmethod
    def of(cls, data: DataTable) -> BadRowPolicy:
        """That of a recipe's table."""
        return cls(data.on_bad_row == "skip", data.max_bad_share)


class BadRows:
    """The rows of one source that cannot be used."""

    def __init__(self, source: str, policy: BadRowPolicy, num_rows: int | None = None) -> None:
        """`num_rows` is None where they have not been counted."""
        self._source = source
        self._policy = policy
        self._num_rows = num_rows
        self._places: dict[str, list[str]] = {}
        """Where the first rows of each kind are, by what is wrong with them."""
        self._hint = ""
        self.seen = 0
        """Rows looked at so far, good and bad; kept up to date by the caller."""
        self.count = 0

    @property
    def is_refused(self) -> bool:
        """True once the source is going to be refused: then only further bad rows are of interest."""
        return self.count > 0 and not self._policy.skip

    def add(self, label: str, place: str, error: RowError) -> None:
        """Note one. Raises `DataError` when there are so many that nothing else can come of it."""
        self.count += 1
        self._hint = self._hint or error.hint
        places = self._places.setdefault(error.message, [])
        if len(places) < _NUM_PLACES:
            # Of a folder's file the folder is known.
            places.append(place if label == self._source else f"{self._inside(label)} {place}")
        if self._policy.skip:
            enough = self._num_rows is not None and self.count > self._policy.max_share * self._num_rows
        else:
            enough = self.count >= _ENOUGH
        if enough:
            raise self._refusal(at_least=self.seen != self._num_rows)

    def _inside(self, label: str) -> str:
        return os.path.relpath(label, self._source) if os.path.isabs(label) else label

    def check(self, *, beginning: bool = False) -> None:
        """Raise `DataError` if the source is to be refused. Call it behind the last row.

        `beginning`: there are more rows, so their share is not known; only if none was good does it
        say enough.
        """
        if not beginning and self._num_rows is None:
            self._num_rows = self.seen
        share = 1.0 if beginning and self.count < self.seen else self._policy.max_share
        if self.count and not (self._policy.skip and self.count <= share * self.seen):
            raise self._refusal()

    def _refusal(self, *, at_least: bool = False) -> DataError:
        """What is wrong, with the count and examples."""
        limit = f" (at most {self._policy.max_share:.1%} may be: data.max_bad_share)"
        how_many = f"at least {self.count:,}" if at_least else f"{self.count:,}"
        hint = self._hint
        if not self._policy.skip and self.count < self.seen:
            hint = f'{hint} data.on_bad_row = "skip" leaves them out if they are few.'.strip()
        return DataError(
            f"{self._source}: {how_many} of {self._total} cannot be used"
            f"{limit if self._policy.skip else ''}: {self._listed}.",
            hint=hint,
        )

    def notes(self) -> list[str]:
        """What is skipped, for people."""
        if not self.count:
            return []
        return [f"{self.count:,} of {self._total} cannot be used and are skipped: {self._listed}"]

    @property
    def _total(self) -> str:
        if self._num_rows is None:
            return f"the first {self.seen:,} rows"
        return f"{self._num_rows:,} row{'' if self._num_rows == 1 else 's'}"

    @property
    def _listed(self) -> str:
        reasons = list(self._places.items())[:_NUM_REASONS]
        listed = "; ".join(f"{_joined(places)}: {reason}" for reason, places in reasons)
        shown = sum(len(places) for _, places in reasons)
        return listed + ("; ..." if self.count > shown else "")


def _joined(places: list[str]) -> str:
    """`lines 3, 5, 8` instead of three times the word."""
    words = {place.rpartition(" ")[0] for place in places}
    if len(places) == 1 or len(words) > 1:
        return ", ".join(places)
    return f"{words.pop()}s " + ", ".join(place.rpartition(" ")[2] for place in places)
