"""How many tokens a recipe's data have: from when they were last tokenised, else from their bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.data.counts import NUM_QUANTILES, DataCounts, SourceCounts, recall_counts
from stoker.data.epochs import epoch_rows
from stoker.plan.sampling import (
    BYTES_PER_TOKEN,
    BYTES_PER_TOKEN_ERROR,
    Sample,
    sample_source,
    variance,
)

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe


@dataclass(frozen=True)
class DataEstimate:
    """What a plan needs to know of the data. Lengths are in tokens, after cutting.

    Means and quantiles are of the rows that an epoch takes: a source of weight 2 counts twice.
    """

    epoch_rows: float
    tokens_per_row: float
    supervised_per_row: float
    longest: int
    most_supervised: int
    quantiles: tuple[float, ...]
    """Lengths of rows at equal steps of rank."""
    evaluation_rows: float
    error: float
    """Relative error of the number of tokens; 0 where they were counted."""
    how: str
    """In words, for the plan's assumptions."""

    def expected_longest(self, rows: int) -> float:
        """Mean of the longest of `rows` rows taken at random: the length of a padded micro-batch."""
        last = len(self.quantiles) - 1
        if last == 0:
            return self.quantiles[0]
        # E[max] over the empirical distribution: the share below quantile i is i / last.
        return sum(
            (self.quantiles[i] + self.quantiles[i - 1])
            / 2
            * ((i / last) ** rows - ((i - 1) / last) ** rows)
            for i in range(1, last + 1)
        )

    def largest_sum(self, rows: int, draws: float) -> float:
        """What the largest sum of `rows` lengths in so many draws is hardly above.

        By the normal distribution's bound on the mean of the largest; never more than `rows` of the
        longest.
        """
        spread = math.sqrt(variance(self.quantiles, self.tokens_per_row) * rows)
        middle = rows * self.tokens_per_row
        return min(rows * self.longest, middle + spread * math.sqrt(2 * math.log(max(draws, 2.0))))


@dataclass(frozen=True)
class _Part:
    """A source, and how many rows an epoch takes from it."""

    rows: float
    counts: SourceCounts

    @property
    def tokens(self) -> float:
        return self.rows * self.counts.tokens / self.counts.rows

    @property
    def supervised(self) -> float:
        return self.rows * self.counts.supervised / self.counts.rows


def estimate_data(recipe: Recipe) -> DataEstimate | None:
    """None where nothing is known: data of the hub, Parquet, or a plugin's, that were never tokenised.

    Raises `DataError` for files that cannot be read as the recipe says.
    """
    counts = recall_counts(recipe)
    return _from_bytes(recipe) if counts is None else _from_counts(recipe, counts)


def _from_counts(recipe: Recipe, counts: DataCounts) -> DataEstimate:
    parts = _parts(recipe, counts.train)
    rows, tokens = (sum(getattr(each, name) for each in counts.train) for name in ("rows", "tokens"))
    return _estimate(
        parts,
        recipe.data.sequence_length,
        evaluation_rows=sum(each.rows for each in counts.evaluation),
        error=0.0,
        how=f"data: {rows:,} rows with {tokens:,} tokens, counted when they were tokenised",
    )


def _from_bytes(recipe: Recipe) -> DataEstimate | None:
    train = [sample_source(source, recipe) for source in recipe.data.train]
    known = [sample for sample in train if sample is not None]
    if len(known) < len(train):
        return None
    held_out = recipe.data.eval_fraction
    parts = _parts(recipe, [sample.counts for sample in known], 1 - held_out)
    evaluation = [sample_source(source, recipe) for source in recipe.data.eval]
    evaluation_rows = sum(sample.counts.rows for sample in evaluation if sample is not None)
    evaluation_rows += held_out * sum(sample.counts.rows for sample in known)
    error = math.hypot(BYTES_PER_TOKEN_ERROR, _sampling_error(parts, known))
    rows, tokens = (sum(getattr(part, name) for part in parts) for name in ("rows", "tokens"))
    return _estimate(
        parts,
        recipe.data.sequence_length,
        evaluation_rows=evaluation_rows,
        error=error,
        how=f"data: about {rows:,.0f} rows an epoch with {tokens / 1e6:,.3g} million tokens, from "
        f"{sum(sample.rows_read for sample in known):,} rows at {BYTES_PER_TOKEN} bytes a token, "
        f"± {error:.0%}; `--count` tokenises",
    )


def _parts(recipe: Recipe, counts: Sequence[SourceCounts], share: float = 1.0) -> list[_Part]:
    """Sources with what an epoch takes from `share` of their rows, those without rows left out."""
    return [
        _Part(epoch_rows(max(1, round(each.rows * share)), source.weight), each)
        for source, each in zip(recipe.data.train, counts, strict=True)
        if each.rows
    ]


def _sampling_error(parts: Sequence[_Part], samples: Sequence[Sample]) -> float:
    """Of all tokens, relative: one standard error of the means that were extrapolated."""
    absolute = (part.tokens * sample.error for part, sample in zip(parts, samples, strict=True))
    return math.hypot(*absolute) / sum(part.tokens for part in parts)


def _estimate(
    parts: Sequence[_Part], sequence_length: int, *, evaluation_rows: float, error: float, how: str
) -> DataEstimate:
    """The sources mixed as an epoch mixes them; the longest row with the error on top."""
    rows = sum(part.rows for part in parts)
    longest, most_supervised = (
        min(sequence_length, math.ceil(max(getattr(part.counts, name) for part in parts) * (1 + error)))
        for name in ("longest", "most_supervised")
    )
    return DataEstimate(
        epoch_rows=rows,
        tokens_per_row=sum(part.tokens for part in parts) / rows,
        supervised_per_row=sum(part.supervised for part in parts) / rows,
        longest=longest,
        most_supervised=most_supervised,
        quantiles=_mixed_quantiles(parts),
        evaluation_rows=evaluation_rows,
        error=error,
        how=how,
    )


def _mixed_quantiles(parts: Sequence[_Part]) -> tuple[float, ...]:
    """Of all sources together: each quantile stands for an equal share of its source's rows."""
    if len(parts) == 1:
        return parts[0].counts.quantiles
    points = sorted(
        (length, part.rows / len(part.counts.quantiles))
        for part in parts
        for length in part.counts.quantiles
    )
    total = sum(weight for _, weight in points)
    mixed: list[float] = [points[0][0]]
    passed = 0.0
    for length, weight in points:
        passed += weight
        while len(mixed) < NUM_QUANTILES - 1 and passed >= total * len(mixed) / (NUM_QUANTILES - 1):
            mixed.append(length)
    return (*mixed, points[-1][0])
