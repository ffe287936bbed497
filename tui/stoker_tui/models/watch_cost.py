"""What a run has cost, is going to cost and may cost, and what an hour of it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.run.lines import format_usd
from stoker_tui.models.amounts import NONE
from stoker_tui.models.styled import Line, Piece, Tone, columns, line

if TYPE_CHECKING:
    from stoker_tui.models.spent import Spent

NO_PRICE = ("no price known", "plugin cost has them")


def cost_lines(cost: Spent | None, *, is_over: bool = False) -> list[Line]:
    """A line for each sum; nothing is projected of a run that is over."""
    if cost is None:
        return [line(Piece(words, "muted")) for words in NO_PRICE]
    rows: list[tuple[str, float | None, Tone]] = [
        ("so far", cost.usd, "strong"),
        ("projected", None if is_over else cost.projected_usd, "plain"),
        ("budget", cost.budget_usd, _budget_tone(cost)),
        ("per hour", cost.usd_per_hour, "plain"),
        ("idle", cost.idle_usd, "warning" if cost.idle_usd else "plain"),
        ("redone", cost.redone_usd, "warning" if cost.redone_usd else "plain"),
    ]
    cells = [
        (Piece(name, "muted"), Piece(NONE if usd is None else format_usd(usd), tone))
        for name, usd, tone in rows
    ]
    return columns(cells, "<>")


def _budget_tone(cost: Spent) -> Tone:
    if cost.budget_usd is None:
        return "muted"
    if cost.usd >= cost.budget_usd:
        return "bad"
    return "warning" if (cost.projected_usd or 0.0) > cost.budget_usd else "good"
