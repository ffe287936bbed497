"""The line that says where a run is, and the sentences under it that say what is the matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.run.lines import format_seconds, format_usd
from stoker.run.record import ACTIVE_STATES
from stoker_tui.models.amounts import date_of, percent, time_of_day
from stoker_tui.models.states import state_piece
from stoker_tui.models.styled import Line, Piece, foreign, line

if TYPE_CHECKING:
    from stoker_tui.models.feed import RunFeed
    from stoker_tui.models.spent import Spent


def head_groups(feed: RunFeed) -> list[Line]:
    """Groups of the head line: name, state, attempt, step, ETA, money, MFU."""
    record, state = feed.record, feed.state
    if record is None or state is None:
        return [line(foreign(feed.directory.name, "strong"))]
    groups = [line(foreign(record.name, "strong")), line(state_piece(state))]
    if state not in ACTIVE_STATES and record.ended is not None:
        groups.append(
            line(Piece(f"ended {date_of(record.ended)} {time_of_day(record.ended)[:5]}", "muted"))
        )
    groups.append(line(Piece(f"attempt {max(1, record.attempt)}", "muted")))
    groups.append(_step(feed))
    if state in ACTIVE_STATES and feed.eta_seconds is not None:
        groups.append(line(Piece("ETA ", "muted"), format_seconds(feed.eta_seconds)))
    if feed.cost is not None:
        groups += _money(feed.cost, is_over=state == "done")
    if (mfu := mfu_of(feed)) is not None:
        groups.append(line(Piece("MFU ", "muted"), percent(mfu)))
    return groups


def mfu_of(feed: RunFeed) -> float | None:
    """Share of all devices' arithmetic, as the first rank that knows says."""
    return next((pace.mfu for pace in feed.ranks.paces if pace.mfu is not None), None)


def _step(feed: RunFeed) -> Line:
    step, total = feed.step, feed.total_steps
    if not total:
        return line(Piece("step ", "muted"), str(step))
    return line(Piece("step ", "muted"), f"{step}/{total} {100 * step // total} %")


def _money(cost: Spent, *, is_over: bool) -> list[Line]:
    words = [Piece(format_usd(cost.usd), "strong")]
    if cost.projected_usd is not None and not is_over:
        words.append(Piece(f" of about {format_usd(cost.projected_usd)}"))
    if cost.budget_usd is not None:
        too_much = max(cost.usd, cost.projected_usd or 0.0) > cost.budget_usd
        words.append(Piece(f" (cap {format_usd(cost.budget_usd)})", "warning" if too_much else "plain"))
    words.append(Piece(f" at {format_usd(cost.usd_per_hour)}/h", "muted"))
    groups = [line(*words)]
    if cost.idle_usd:
        groups.append(line(Piece("idle ", "muted"), format_usd(cost.idle_usd)))
    return groups
