"""What was predicted of a run beside what is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from stoker.plan.grading import ENOUGH_STEPS, WARM_UP_STEPS, predicted
from stoker.run.lines import clean, format_bytes, format_usd
from stoker_tui.models.amounts import NONE, percentile, seconds_short
from stoker_tui.models.chart_ticks import figure
from stoker_tui.models.styled import Line, Piece, Tone, columns, wrap

if TYPE_CHECKING:
    from stoker_tui.models.feed import RunFeed
    from stoker_tui.models.tables import StepTable

_LATEST_STEPS = 500
"""Medians are of so many: what a run does now, at the cost of a short list."""
_MEMORY = ("reserved_bytes", "allocated_bytes", "resident_bytes", "gpu_bytes")
"""Peaks of the fullest rank, as a grade has them; else what its GPU holds now."""
_CLOSE, _FAR = 0.1, 0.25


class Compared(NamedTuple):
    """One quantity; None where it is not known."""

    name: str
    words: Callable[[float], str]
    predicted: float | None
    measured: float | None

    @property
    def ratio(self) -> float | None:
        """Measured over predicted."""
        return self.measured / self.predicted if self.measured and self.predicted else None


def plan_lines(feed: RunFeed, cells: int) -> list[Line]:
    """A table of step time, tokens/s, memory and cost, or why there is none."""
    plan = feed.plan
    if plan is None:
        return wrap("no plan was made for this run", cells, "muted")
    if "problem" in plan:
        return wrap(f"no plan: {clean(str(plan['problem']))}", cells, "muted")
    head = [Piece(name, "muted") for name in ("", "planned", "actual", "ratio")]
    return columns([head, *(_row(each) for each in compare(feed))], "<>>>")


def compare(feed: RunFeed) -> list[Compared]:
    """By what is measured now; by the grade once an attempt is over."""
    grade = feed.grade or {}
    said = _predicted(feed.plan or {}) | grade.get("predicted", {})
    graded, now = grade.get("measured", {}), _measured(feed)
    measured = graded | now if feed.is_active else now | graded
    memory = next((name for name in _MEMORY if name in measured), _MEMORY[0])
    rows = (
        ("step time", "step_seconds", seconds_short),
        ("tokens/s", "tokens_per_second", figure),
        ("memory", memory, format_bytes),
        ("cost", "cost_usd", format_usd),
    )
    return [Compared(name, words, said.get(key), measured.get(key)) for name, key, words in rows]


def _row(each: Compared) -> list[Piece]:
    ratio = each.ratio
    return [
        Piece(each.name),
        Piece(NONE if each.predicted is None else each.words(each.predicted)),
        Piece(NONE if each.measured is None else each.words(each.measured)),
        Piece(NONE, "muted") if ratio is None else Piece(f"{ratio:.2f}x", _tone(ratio)),
    ]


def _tone(ratio: float) -> Tone:
    off = abs(math.log(ratio))
    return "good" if off <= _CLOSE else "plain" if off <= _FAR else "warning"


def _predicted(plan: Mapping[str, Any]) -> dict[str, float]:
    try:
        return predicted(plan) | {"gpu_bytes": plan["per_gpu"]["total"]}
    except (KeyError, TypeError):
        return {}


def _measured(feed: RunFeed) -> dict[str, float]:
    found: dict[str, float] = {}
    if used := [gpu.memory_used for gpu in feed.gpus if gpu.memory_used]:
        found["gpu_bytes"] = max(used)
    for name in ("step_seconds", "tokens_per_second"):
        if values := _latest(feed.steps, name):
            found[name] = percentile(values, 0.5)
    # Before its end, the sum that the run is going to cost is what compares with the plan's.
    if feed.cost is not None and (usd := feed.cost.projected_usd or feed.cost.usd):
        found["cost_usd"] = usd
    return found


def _latest(steps: StepTable, name: str) -> list[float]:
    if name not in steps.names or len(steps) < WARM_UP_STEPS + ENOUGH_STEPS:
        return []
    values = steps.column(name)[max(WARM_UP_STEPS, len(steps) - _LATEST_STEPS) :]
    return [value for value in values if 0 < value < math.inf]
