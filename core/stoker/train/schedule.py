"""Learning rate as a pure function of the step: nothing to save, nothing to restore wrongly."""

from __future__ import annotations

import math
from collections.abc import Callable

from stoker.recipe.schema import TrainTable

Schedule = Callable[[int], float]
"""Learning rate of a step; steps count from 1."""


def warmup_steps(warmup: int | float, total_steps: int) -> int:
    """Steps of the warm-up: a number of steps, or a share of all steps when below 1."""
    return warmup if isinstance(warmup, int) else round(warmup * total_steps)


def make_schedule(train: TrainTable, total_steps: int) -> Schedule:
    """The recipe's schedule: linear warm-up from 0, then the shape `train.schedule` names.

    `linear` and `cosine` reach 0 one step after the last, so that the last step still learns.
    `wsd` is constant, then decays linearly over the last `train.decay` of the steps
    (Hu et al. 2024, MiniCPM).
    """
    warmup = warmup_steps(train.warmup, total_steps)
    shape = SHAPES[train.schedule]

    def learning_rate(step: int) -> float:
        if step <= warmup:
            return train.learning_rate * step / (warmup + 1)
        progress = (step - 1 - warmup) / max(1, total_steps - warmup)
        return train.learning_rate * shape(min(1.0, progress), train.decay)

    return learning_rate


def _constant(progress: float, decay: float) -> float:
    return 1.0


def _linear(progress: float, decay: float) -> float:
    return 1.0 - progress


def _cosine(progress: float, decay: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _wsd(progress: float, decay: float) -> float:
    return min(1.0, (1.0 - progress) / decay)


SHAPES: dict[str, Callable[[float, float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "wsd": _wsd,
}
"""Factor of the peak rate, of progress after the warm-up in [0, 1] and the decay share."""
