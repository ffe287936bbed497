"""What `stoker show` says of a run's plan: predicted, measured, and how they compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stoker.plan.grading import predicted, read_plan
from stoker.run.directory import RunDirectory
from stoker.run.lines import clean, format_bytes, format_usd

_MEMORY = ("reserved_bytes", "allocated_bytes", "resident_bytes")
"""The one that is nearest to what a machine must have comes first."""


def gather_plan(directory: RunDirectory) -> dict[str, Any] | None:
    """None for a run without a plan; `measured` is empty until an attempt was graded."""
    plan = read_plan(directory)
    if plan is None:
        return None
    grade = plan.get("grade", {})
    said = {} if "problem" in plan else predicted(plan)
    return {
        "problem": plan.get("problem"),
        "after_counting": grade.get("after_counting", False),
        "predicted": {**said, **grade.get("predicted", {})},
        "measured": grade.get("measured", {}),
        "ratio": grade.get("ratio", {}),
    }


def plan_lines(plan: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """A line for each quantity, the first with the name of them all."""
    if plan is None:
        return
    if plan["problem"] is not None:
        yield "plan", clean(f"none: {plan['problem']}")
        return
    memory = next((name for name in _MEMORY if name in plan["measured"]), _MEMORY[0])
    rows = (
        (memory, "memory of a rank", format_bytes),
        ("step_seconds", "step", lambda value: f"{value:.3g} s"),
        ("tokens_per_second", "tokens/s", lambda value: f"{value:,.0f}"),
        ("cost_usd", "cost", format_usd),
    )
    title = "plan"
    for key, name, words in rows:
        if key not in plan["predicted"]:
            continue
        line = f"{name}: {words(plan['predicted'][key])} predicted"
        if key in plan["measured"]:
            line += f", {words(plan['measured'][key])} measured"
        if key in plan["ratio"]:
            line += f" (x {plan['ratio'][key]:.2f})"
        yield title, line
        title = ""
    if plan["after_counting"]:
        yield "", "(the data were not counted at the launch: predicted with their counts)"
