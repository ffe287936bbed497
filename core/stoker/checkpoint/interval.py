"""How often to save: by steps, by the clock, or as often as pays. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.run.record import ATTEMPT_SECONDS, INTERRUPTIONS, OBSERVED_SECONDS

AUTO = "auto"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Interval:
    """`checkpoint.every`, parsed. One of `steps`, `seconds` and `is_auto` is set."""

    steps: int = 0
    seconds: float = 0.0
    is_auto: bool = False


def parse_interval(every: str) -> Interval:
    """`"200 steps"`, `"30 s"`, `"10 min"`, `"2 h"` or `"auto"`."""
    if every == AUTO:
        return Interval(is_auto=True)
    number, unit = every.split()
    if unit in _SECONDS:
        return Interval(seconds=float(number) * _SECONDS[unit])
    return Interval(steps=int(number))


def young_daly_seconds(commit_seconds: float, mean_seconds: float) -> float:
    """The interval that loses least: sqrt(2 C mu) (Young 1974, Daly 2006).

    `commit_seconds` is the time from the copy to the durable checkpoint, `mean_seconds` the mean time
    between interruptions. The optimum is flat: twice or half of it costs at most a quarter more.
    """
    return math.sqrt(2 * commit_seconds * mean_seconds)


def mean_seconds_between(facts: Mapping[str, Any], expected_seconds: float) -> float:
    """Mean time between interruptions: what was expected, corrected by what this run has seen.

    (expected + observed) / (1 + interruptions): the expectation counts as one interruption seen.
    """
    observed = float(facts.get(OBSERVED_SECONDS, 0.0)) + float(facts.get(ATTEMPT_SECONDS, 0.0))
    return (expected_seconds + observed) / (1 + int(facts.get(INTERRUPTIONS, 0)))
