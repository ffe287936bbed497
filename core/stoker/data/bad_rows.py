"""Rows that cannot be used: counted and shown by example; refused or, if the recipe says so, skipped."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.data.problems import DataError, RowError

_ENOUGH = 100
"""Bad rows after which there is no point in looking for more."""
_NUM_EXAMPLES = 3


@dataclass(frozen=True)
class BadRowPolicy:
    """What a recipe says about rows that cannot be used."""

    skip: bool = False
    max_share: float = 0.0
    """Share of a source's rows that may be skipped."""


class BadRows:
    """The rows of one source that cannot be used."""

    def __init__(self, source: str, policy: BadRowPolicy, num_rows: int | None = None) -> None:
        """`num_rows` is None where they have not been counted: then shares are those of `seen`."""
        self._source = source
        self._skips = policy.skip
        self._max_share = policy.max_share
        self._num_rows = num_rows
        self._examples: list[str] = []
        self._hint = ""
        self.seen = 0
        """Rows looked at so far, good and bad; kept up to date by the caller."""
        self.all_seen = False
        """Set by the caller where `num_rows` was not known before."""
        self.count = 0

    @property
    def is_refused(self) -> bool:
        """True once the source is going to be refused: then only further bad rows are of interest."""
        return self.count > 0 and not self._skips

    def add(self, label: str, place: str, error: RowError) -> None:
        """Note one. Raises `DataError` when there are so many that nothing else can come of it."""
        self.count += 1
        if len(self._examples) < _NUM_EXAMPLES:
            where = place if label == self._source else f"{label}, {place}"
            self._examples.append(f"{where}: {error.message}")
            self._hint = self._hint or error.hint
        allowed = self._max_share * (self._num_rows or 0)
        enough = self.count > allowed if self._skips and self._num_rows else self.count >= _ENOUGH
        if enough:
            raise self.refusal(at_least=self.seen < (self._num_rows or self.seen))

    def check(self) -> None:
        """Raise `DataError` if the source is to be refused. Call it behind the last row."""
        if self.count and not (self._skips and self.count <= self._max_share * self.seen):
            raise self.refusal()

    def refusal(self, *, at_least: bool = False) -> DataError:
        """What is wrong, with the count and examples."""
        limit = f" (at most {self._max_share:.1%} may be: data.max_bad_share)" if self._skips else ""
        how_many = f"at least {self.count:,}" if at_least else f"{self.count:,}"
        hint = self._hint
        if not self._skips and self.count < _ENOUGH:
            hint = f'{hint} data.on_bad_row = "skip" leaves such rows out.'.strip()
        return DataError(
            f"{self._source}: {how_many} of {self._total} cannot be used{limit}: {self._listed}.",
            hint=hint,
        )

    def notes(self) -> list[str]:
        """What was skipped, for people."""
        if not self.count:
            return []
        return [f"{self.count:,} of {self._total} cannot be used and are skipped: {self._listed}"]

    @property
    def _total(self) -> str:
        known = self.seen if self.all_seen else self._num_rows
        if known is None:
            return f"the first {self.seen:,} rows"
        return f"{known:,} row{'' if known == 1 else 's'}"

    @property
    def _listed(self) -> str:
        rest = "; ..." if self.count > len(self._examples) else ""
        return "; ".join(self._examples) + rest
