"""From finished runs to a table: medians, spreads, ratios of rounds beside targets, loss curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

OURS = "stoker"
REFERENCE = "bare"
"""Whose losses the others are compared with: the plainest."""
TARGETS = {"hf_trainer": 2.0, "trl": 1.8, "trl_best": 1.10, "bare_packed": 0.98}
"""Least tokens/s of stoker over theirs."""
MOST_MEMORY = 1.0
"""Most peak memory of stoker over anybody's."""
MOST_DIFFERENCE = {"fp32": 1e-4, "bf16": 2e-2}
"""Relative difference of a step's loss. In bfloat16 products have 8 bits (2**-8 is 4e-3), and whether a
token stands in a padded or a packed row decides how its sums are rounded; frozen weights differ too."""

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Runs of one setting by contender and round."""


def spread(values: Sequence[float], digits: int) -> str:
    """`median (least to most)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(runs: Runs, theirs: str, key: str) -> list[float]:
    """Ours over theirs in each round that both finished: neighbours in time, on the same rows."""
    ours, others = runs.get(OURS, {}), runs.get(theirs, {})
    return [ours[number][key] / others[number][key] for number in sorted(ours.keys() & others.keys())]


def curve_difference(runs: Runs, name: str) -> float | None:
    """Largest relative difference of a step's loss from the reference's; None without common rounds.

    Infinite where the numbers of steps differ, or a loss is no number.
    """
    own, reference = runs.get(name, {}), runs.get(REFERENCE, {})
    worst: float | None = None
    for number in own.keys() & reference.keys():
        mine, theirs = own[number]["losses"], reference[number]["losses"]
        if len(mine) != len(theirs) or not all(map(math.isfinite, [*mine, *theirs])):
            return float("inf")
        worst = max([worst or 0.0, *(abs(a - b) / abs(b) for a, b in zip(mine, theirs, strict=True))])
    return worst


def seconds_to(run: Mapping[str, Any], threshold: float) -> float | None:
    """Seconds of training until the held-out loss is at most `threshold`; None if it never is."""
    return next((seconds for seconds, loss in run["held_out"] if loss <= threshold), None)


def table(setting: str, runs: Runs) -> Iterator[str]:
    """Markdown: a row for each contender, and whether the curves agree."""
    bound = MOST_DIFFERENCE[setting.rpartition("-")[2]]
    columns = (
        "useful tokens/s",
        "stoker / it",
        "asked",
        "peak memory, GB",
        "stoker / it",
        "start-up, s",
    )
    yield f"| contender | {' | '.join(columns)} |"
    yield "|---" * (1 + len(columns)) + "|"
    for name, rounds in runs.items():
        yield _row(runs, name, list(rounds.values()))
    differences = {name: curve_difference(runs, name) for name in runs if name != REFERENCE}
    known = {name: value for name, value in differences.items() if value is not None}
    if known:
        verdict = "yes" if max(known.values()) <= bound else "NO"
        worst = ", ".join(f"{name} {value:.1e}" for name, value in known.items())
        yield ""
        asked = f"largest difference from {REFERENCE}, asked: at most {bound:g}"
        yield f"Curves agree: {verdict} ({asked}): {worst}."


def _row(runs: Runs, name: str, rounds: Sequence[Mapping[str, Any]]) -> str:
    speed = spread([run["tokens_per_second"] for run in rounds], 0)
    memory = spread([run["peak_bytes"] / 1e9 for run in rounds], 2)
    start_up = spread([run["start_up_seconds"] for run in rounds], 1)
    faster = smaller = asked = ""
    if name != OURS:
        target = TARGETS.get(name)
        asked = f"{target:.2f}" if target else ""
        speeds, memories = ratios(runs, name, "tokens_per_second"), ratios(runs, name, "peak_bytes")
        if speeds:
            faster = _judged(speeds, missed=target is not None and statistics.median(speeds) < target)
            smaller = _judged(memories, missed=statistics.median(memories) > MOST_MEMORY)
    return f"| {name} | {speed} | {faster} | {asked} | {memory} | {smaller} | {start_up} |"


def _judged(values: Sequence[float], *, missed: bool) -> str:
    """The spread; bold where the median misses what is asked."""
    return f"**{spread(values, 2)}**" if missed else spread(values, 2)


def held_out_table(setting: str, runs: Runs) -> Iterator[str]:
    """Markdown: when each reached the loss of the reference's last evaluation, a little rounded up.

    Nothing where the reference did not run.
    """
    if not runs.get(REFERENCE):
        return
    reference = next(iter(runs[REFERENCE].values()))
    threshold = reference["held_out"][-1][1] * (1 + MOST_DIFFERENCE[setting.rpartition("-")[2]] / 4)
    yield f"\n### {setting}: seconds of training until the held-out loss is at most {threshold:.3f}\n"
    yield "| contender | seconds | last loss |"
    yield "|---|---|---|"
    for name, rounds in runs.items():
        run = next(iter(rounds.values()))
        seconds = seconds_to(run, threshold)
        reached = "not reached" if seconds is None else f"{seconds:.1f}"
        yield f"| {name} | {reached} | {run['held_out'][-1][1]:.3f} |"
