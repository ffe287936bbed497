"""What a run does: its micro-batches, steps, tokens, evaluations and checkpoints. Torch-free."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from stoker.checkpoint.interval import parse_interval
from stoker.data.epochs import num_steps
from stoker.plan.facts import Facts
from stoker.plan.filling import Filling, filling
from stoker.plan.situation import MicroBatch, Situation
from stoker.plan.time import Calibration, Load, Span, TimeEstimate, estimate_time

if TYPE_CHECKING:
    from stoker.plan.dataset import DataEstimate
    from stoker.recipe.model import Recipe

_MOST_CHECKPOINTS = 100_000


def largest_micro_batch(
    recipe: Recipe, data: DataEstimate | None, facts: Facts, rows: int, ranks: int
) -> MicroBatch:
    """The micro-batch that takes most memory, of those that are to be expected."""
    if facts.packed:
        return _filling(recipe, data, facts, rows, ranks).largest()
    length = recipe.data.sequence_length
    longest = data.longest if data else length
    most_supervised = data.most_supervised if data else length - 1
    return MicroBatch(rows, longest, rows * most_supervised, longest)


def mean_micro_batch(
    recipe: Recipe, data: DataEstimate, facts: Facts, rows: int, ranks: int
) -> MicroBatch:
    """The micro-batch that takes the mean time."""
    if facts.packed:
        return _filling(recipe, data, facts, rows, ranks).mean(data)
    supervised = max(1, round(rows * data.supervised_per_row))
    positions = max(2, round(data.expected_longest(rows)))
    return MicroBatch(rows, positions, supervised, positions)


def accumulation(recipe: Recipe, data: DataEstimate | None, facts: Facts, rows: int, ranks: int) -> int:
    """Micro-batches of a rank in a step."""
    if facts.packed:
        return _filling(recipe, data, facts, rows, ranks).accumulation
    return math.ceil(math.ceil(recipe.train.batch_size / rows) / ranks)


def _filling(recipe: Recipe, data: DataEstimate | None, facts: Facts, rows: int, ranks: int) -> Filling:
    return filling(
        batch_size=recipe.train.batch_size,
        rows=rows,
        ranks=ranks,
        sequence_length=recipe.data.sequence_length,
        epochs=recipe.train.epochs or 1,
        tokens=facts.packed_tokens,
        data=data,
    )


def steps_of(recipe: Recipe, data: DataEstimate | None) -> int | None:
    """None where they follow from data that are not known."""
    if recipe.train.steps is not None:
        return recipe.train.steps
    if data is None:
        return None
    return num_steps(recipe.train, data.epoch_rows / recipe.train.batch_size)


def tokens_of(recipe: Recipe, data: DataEstimate | None, steps: int | None) -> Span | None:
    """Tokens that a run trains on: rows times the tokens of a row."""
    if data is None or steps is None:
        return None
    tokens = steps * recipe.train.batch_size * data.tokens_per_row
    return Span(tokens * (1 - data.error), tokens, tokens * (1 + data.error))


def load_of(
    recipe: Recipe,
    rows: int,
    situation: Situation,
    facts: Facts,
    data: DataEstimate | None,
    steps: int,
) -> Load:
    """What the run does in so many steps: mean micro-batches of `rows` rows, and evaluations."""
    train = recipe.train
    evaluations = 0
    evaluation_micro_batches = 0.0
    if data and data.evaluation_rows:
        evaluations = 1 + math.ceil(steps / (train.evaluate_every or steps))
        at_once = train.batch_size / situation.accumulation if facts.packed else rows * situation.ranks
        evaluation_micro_batches = math.ceil(data.evaluation_rows / at_once)
    return Load(
        steps=steps,
        micro_batch=mean_micro_batch(recipe, data, facts, rows, situation.ranks) if data else None,
        tokens_per_step=train.batch_size * data.tokens_per_row if data else None,
        evaluations=evaluations,
        evaluation_micro_batches=evaluation_micro_batches,
        error=data.error if data else 0.0,
    )


def with_checkpoints(
    recipe: Recipe,
    situation: Situation,
    facts: Facts,
    load: Load,
    time: TimeEstimate,
    calibration: Calibration | None,
) -> TimeEstimate:
    """The same time with the checkpoints that fall into it; `auto` counts as every ten minutes."""
    interval = parse_interval(recipe.checkpoint.every)
    if interval.steps:
        number = load.steps // interval.steps
    else:
        number = int(time.run_seconds.mid // (interval.seconds or 600.0))
    load = replace(load, checkpoints=2 + min(number, _MOST_CHECKPOINTS))
    return estimate_time(situation, facts, load, calibration)
