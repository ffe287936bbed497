"""The table of the screen Plan: the recipe as it is, then what fits, ranked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from stoker_tui.models.comparison_view import CandidateView, ComparisonView
from stoker_tui.models.plan_view import PlanView, short_hours, usd_words
from stoker_tui.widgets.columns import Cell, Column

DRAFT = "draft"
"""Key of the row of the recipe as it is."""

COLUMNS = (
    Column("machine", "GPUs", 17, share=1, most=26),
    Column("engine", "engine", 15, share=1, most=24),
    Column("checkpointing", "checkpointing", 13, priority=3),
    Column("offload", "offload", 7, priority=4),
    Column("rows", "rows", 7, priority=5),
    Column("memory", "memory", 14, right=True, priority=1),
    Column("hours", "time", 9, right=True),
    Column("usd", "USD", 10, right=True),
    Column("marks", "best", 17, priority=2),
)


def draft_cells(plan: PlanView) -> list[Cell]:
    """The recipe as it is."""
    verdict = Text("this recipe", "bold") if plan.fits else Text("DOES NOT FIT", "error")
    memory = plan.share if plan.fits else Text(plan.share, "error")
    return [
        plan.machine,
        plan.engine,
        plan.checkpointing,
        plan.offload,
        plan.rows,
        memory,
        short_hours(plan.mid_hours),
        usd_words(plan.mid_usd),
        verdict,
    ]


def candidate_cells(candidate: CandidateView) -> list[Cell]:
    """One of the ranked."""
    engine = " ".join(part for part in (candidate.method, candidate.engine) if part)
    tone = "success" if candidate.is_cheapest or candidate.is_fastest else "muted"
    return [
        candidate.machine,
        engine,
        candidate.checkpointing,
        candidate.offload,
        candidate.rows,
        candidate.memory,
        candidate.time,
        candidate.money,
        Text(candidate.marks, tone),
    ]


def row_keys(comparison: ComparisonView | None) -> Sequence[str]:
    """The draft first."""
    return [DRAFT, *(each.key for each in comparison.candidates)] if comparison else [DRAFT]
