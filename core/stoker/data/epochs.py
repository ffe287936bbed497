"""How many rows an epoch has and how many steps a run: plain arithmetic, for plans and for training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.recipe.schema import TrainTable


def repeats_and_extra(num_rows: int, weight: float) -> tuple[int, int]:
    """How often an epoch takes every row of a source, and how many rows it takes once more."""
    repeats = int(weight)
    extra = round((weight - repeats) * num_rows)
    if num_rows and not repeats:
        extra = max(1, extra)
    return repeats, extra


def epoch_rows(num_rows: int, weight: float) -> int:
    """Rows that an epoch takes from a source of `num_rows` rows."""
    repeats, extra = repeats_and_extra(num_rows, weight)
    return num_rows * repeats + extra


def num_steps(train: TrainTable, steps_per_epoch: float) -> int:
    """Optimizer steps of a whole run: `steps`, or enough to take every row `epochs` times."""
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    # Rounded first: 0.1 * 3 epochs must not cost a step more because of a binary fraction.
    return max(1, math.ceil(round(train.epochs * steps_per_epoch, 6)))
