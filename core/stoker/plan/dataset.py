"""How many tokens a recipe's data have: from when they were last tokenised, else from their bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.data.counts import DataCounts, HalfCounts, half_counts, recall_counts
from stoker.data.epochs import epoch_rows
from stoker.plan.sampling import (
    BYTES_PER_TOKEN,
    BYTES_PER_TOKEN_ERROR,
    mean,
    relative_error,
    sample_source,
    variance,
)

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe


@dataclass(frozen=True)
class DataEstimate:
    """What a plan needs to know of the data. Lengths are in tokens, after cutting."""

    epoch_rows: float
    tokens_per_row: float
    supervised_per_row: float
    longest: int
    most_supervised: int
    quantiles: tuple[float, ...]
    """Lengths of rows at equal steps of rank."""
    evaluation_rows: float
    evaluation_tokens: float
    error: float
    """Relative error of the number of tokens; 0 where they were counted."""
    how: str
    """In words, for the plan's assumptions."""

    @property
    def epoch_tokens(self) -> float:
        """Tokens of one pass, padding left out."""
        return self.epoch_rows * self.tokens_per_row

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
        """About the largest sum of `rows` lengths in so many draws, by the normal distribution.

        Never more than `rows` of the longest.
        """
        spread = math.sqrt(variance(self.quantiles, self.tokens_per_row) * rows)
        mean = rows * self.tokens_per_row
        return min(rows * self.longest, mean + spread * math.sqrt(2 * math.log(max(draws, 2.0))))


def estimate_data(recipe: Recipe) -> DataEstimate | None:
    """None where nothing is known: data of the hub, Parquet, or a plugin's, that were never tokenised.

    Raises `DataError` for files that cannot be read as the recipe says.
    """
    counts = recall_counts(recipe)
    if counts is not None:
        return _from_counts(recipe, counts)
    return _from_bytes(recipe)


def _from_counts(recipe: Recipe, counts: DataCounts) -> DataEstimate:
    train, evaluation = counts.train, counts.evaluation
    weights = [source.weight for source in recipe.data.train]
    rows = sum(epoch_rows(size, weight) for size, weight in zip(train.source_rows, weights, strict=True))
    return DataEstimate(
        epoch_rows=rows,
        tokens_per_row=train.tokens / train.rows,
        supervised_per_row=train.supervised / train.rows,
        longest=train.longest,
        most_supervised=train.most_supervised,
        quantiles=train.quantiles,
        evaluation_rows=evaluation.rows if evaluation else 0,
        evaluation_tokens=evaluation.tokens if evaluation else 0,
        error=0.0,
        how=f"data: {train.rows:,} rows with {train.tokens:,} tokens, counted when they were tokenised",
    )


def _from_bytes(recipe: Recipe) -> DataEstimate | None:
    train = [sample_source(source, recipe) for source in recipe.data.train]
    known = [sample for sample in train if sample is not None]
    if len(known) < len(train):
        return None
    evaluation = [sample_source(source, recipe) for source in recipe.data.eval]
    held_out = recipe.data.eval_fraction
    weighted = [
        (epoch_rows(round(sample.rows * (1 - held_out)), source.weight), sample)
        for source, sample in zip(recipe.data.train, known, strict=True)
    ]
    rows = sum(count for count, _ in weighted)
    lengths = [length for sample in known for length in sample.lengths]
    supervised = [number for sample in known for number in sample.supervised]
    half: HalfCounts = half_counts([len(lengths)], lengths, supervised)
    tokens = sum(count * mean(sample.lengths) for count, sample in weighted)
    sampling = relative_error(lengths) if sum(sample.rows for sample in known) > len(lengths) else 0.0
    error = math.hypot(BYTES_PER_TOKEN_ERROR, sampling)
    evaluation_known = [sample for sample in evaluation if sample is not None]
    evaluation_rows = sum(sample.rows for sample in evaluation_known)
    evaluation_rows += held_out * sum(sample.rows for sample in known)
    return DataEstimate(
        epoch_rows=rows,
        tokens_per_row=tokens / rows,
        supervised_per_row=half.supervised / half.rows,
        longest=min(recipe.data.sequence_length, math.ceil(half.longest * (1 + error))),
        most_supervised=min(recipe.data.sequence_length, math.ceil(half.most_supervised * (1 + error))),
        quantiles=half.quantiles,
        evaluation_rows=evaluation_rows,
        evaluation_tokens=evaluation_rows * half.tokens / half.rows,
        error=error,
        how=f"data: about {rows:,.0f} rows an epoch with {tokens / 1e6:,.2f} million tokens, from "
        f"{len(lengths):,} rows at {BYTES_PER_TOKEN} bytes a token, ± {error:.0%}; `--count` tokenises",
    )
