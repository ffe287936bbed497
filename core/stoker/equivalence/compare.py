"""Runs the settings and compares each with the reference of its precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stoker.equivalence.settings import BOUNDS, Bounds, Setting, reference
from stoker.equivalence.variants import variant
from stoker.errors import ExitCode, StokerError
from stoker.recipe.model import Recipe
from stoker.run.trials import Trial, TrialRanks

Verdict = Literal["equal", "differs", "failed", "not here"]


@dataclass(frozen=True)
class Row:
    """How far one setting is from its reference."""

    name: str
    precision: str
    ranks: int
    verdict: Verdict
    bounds: Bounds
    loss_difference: float | None = None
    """Largest relative difference over the steps."""
    norm_difference: float | None = None
    """The same of the gradient's norm before clipping."""
    seconds: float = 0.0
    message: str = ""
    """Why it failed or cannot run on this machine."""


def compare(
    recipe: Recipe,
    settings: Iterable[Setting],
    steps: int,
    folder: Path,
    report: Callable[[Row], None],
) -> list[Row]:
    """Run every setting; `report` is told of each row as it is known.

    Raises `StokerError` if a reference fails: there is nothing to compare with then.
    """
    rows: list[Row] = []
    trials: dict[str, Trial] = {}
    pools: dict[int, TrialRanks] = {}
    try:
        for number, setting in enumerate(settings):
            own = folder / f"setting-{number}"
            if setting.nproc not in pools:
                pools[setting.nproc] = TrialRanks(setting.nproc, folder / f"{setting.nproc}-ranks")
            made = variant(recipe, setting, steps, own)
            trial = pools[setting.nproc].run(f"setting-{number}", made)
            if setting == reference(setting.precision):
                _require(trial, setting)
                trials[setting.precision] = trial
            else:
                rows.append(_judge(setting, trial, trials[setting.precision]))
                report(rows[-1])
    finally:
        for pool in pools.values():
            pool.kill()
    return rows


def _require(trial: Trial, setting: Setting) -> None:
    if trial.failure is not None:
        error = trial.failure.error
        raise StokerError(
            f"the {setting.name} failed: {trial.problem}", hint=error.hint if error else ""
        )


def _judge(setting: Setting, trial: Trial, against: Trial) -> Row:
    bounds = BOUNDS[setting.precision]
    if trial.failure is not None:
        here = trial.failure.exit_code != ExitCode.ENVIRONMENT
        verdict: Verdict = "failed" if here else "not here"
        return Row(
            setting.name, setting.precision, setting.nproc, verdict, bounds, message=trial.problem
        )
    loss = largest_difference(trial.values("loss"), against.values("loss"))
    norm = largest_difference(trial.values("grad_norm"), against.values("grad_norm"))
    # Not "above the bound": a difference that is no number is none.
    equal = loss <= bounds.loss and norm <= bounds.norm
    return Row(
        setting.name,
        setting.precision,
        setting.nproc,
        "equal" if equal else "differs",
        bounds,
        loss,
        norm,
        trial.seconds,
    )


def largest_difference(values: list[float], reference: list[float]) -> float:
    """Largest |a - b| / |b| over the steps; infinite where one is no number, or steps are missing."""
    if len(values) != len(reference) or not all(map(math.isfinite, values)) or not values:
        return math.inf
    return max(abs(a - b) / abs(b) for a, b in zip(values, reference, strict=True))
