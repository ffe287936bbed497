"""The plan that a run was launched with, and how it compared with what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stoker.cli.show_plan import gather_plan
from stoker.plan.grading import read_plan
from stoker.run.directory import RunDirectory
from stoker.run.lines import clean, format_bytes, format_usd
from stoker_tui.models.plan_view import PlanView, plan_view

_QUANTITIES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("allocated_bytes", "tensors of a rank", format_bytes),
    ("reserved_bytes", "reserved on a rank", format_bytes),
    ("resident_bytes", "memory of a rank", format_bytes),
    ("step_seconds", "seconds of a step", lambda value: f"{value:.3g} s"),
    ("tokens_per_second", "tokens a second", lambda value: f"{value:,.0f}"),
    ("cost_usd", "cost", format_usd),
)
_WORTH_A_WORD = 0.05
"""Share by which plan and run differ before a word says which way."""


@dataclass(frozen=True)
class Compared:
    """One quantity, as planned and as measured."""

    name: str
    predicted: str
    measured: str
    ratio: float | None
    """Measured over predicted."""

    @property
    def words(self) -> str:
        """`x 1.12 more`, `x 0.98`, or a dash."""
        if self.ratio is None:
            return "-"
        off = "" if abs(self.ratio - 1) <= _WORTH_A_WORD else (" more" if self.ratio > 1 else " less")
        return f"x {self.ratio:.2f}{off}"


@dataclass(frozen=True)
class RunPlan:
    """What plan.json says."""

    view: PlanView | None
    problem: str
    """Why there is no plan; empty where there is one."""
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]


def read_run_plan(directory: RunDirectory) -> RunPlan:
    """Read it; a file that is missing or damaged is said in words."""
    found = read_plan(directory)
    if found is None:
        return RunPlan(None, "This run has no plan that can be read.", (), ())
    try:
        gathered = gather_plan(directory) or {}
        if gathered.get("problem") is not None:
            return RunPlan(None, clean(f"No plan was made: {gathered['problem']}"), (), ())
        return RunPlan(plan_view(found), "", _rows(gathered), _notes(gathered))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return RunPlan(None, clean(f"plan.json has another shape: {error!r}"), (), ())


def _rows(gathered: dict[str, Any]) -> tuple[Compared, ...]:
    predicted, measured, ratio = (gathered[name] for name in ("predicted", "measured", "ratio"))
    kinds = [each for each in _QUANTITIES if each[0] in measured] if measured else []
    kinds += [each for each in _QUANTITIES if each[0] in predicted and not measured]
    return tuple(
        Compared(
            name,
            words(predicted[key]) if key in predicted else "-",
            words(measured[key]) if key in measured else "-",
            ratio.get(key),
        )
        for key, name, words in kinds
    )


def _notes(gathered: dict[str, Any]) -> tuple[str, ...]:
    if not gathered["measured"]:
        return ("Not compared yet: that is done when an attempt ends that made enough steps.",)
    if gathered["after_counting"]:
        return ("The data were not counted at the launch: predicted with their counts.",)
    return ()
