"""What a run has cost, and is going to cost."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.run.events import Event
from stoker.run.ledger import SECONDS_PER_HOUR, Ledger
from stoker.run.numbers import number


@dataclass(frozen=True, slots=True)
class Spent:
    """US dollars. None is what nobody has said."""

    usd: float
    """So far, in all attempts."""
    usd_per_hour: float
    """What an hour of all GPUs costs."""
    projected_usd: float | None
    """When all steps are done, at this attempt's pace."""
    budget_usd: float | None
    budget_hours: float | None
    hours: float
    """How long machines were held, in all attempts."""
    idle_usd: float | None
    """For ranks that waited for slower ones."""
    redone_usd: float | None
    """For steps that an earlier attempt had done."""
    source: str
    """Where the price is from."""


def spent_of(cost: Event | None, ledger: Ledger) -> Spent | None:
    """From the latest `cost` event and the ledger, which goes on where events end; None without both."""
    if cost is None and not ledger.latest:
        return None
    said = cost or {}
    entry = ledger.latest[-1] if ledger.latest else None
    hours = max(number(said.get("seconds"), 0.0), ledger.seconds) / SECONDS_PER_HOUR
    return Spent(
        usd=max(number(said.get("usd"), 0.0), ledger.usd),
        usd_per_hour=number(said.get("usd_per_hour"), ledger.usd_per_hour),
        projected_usd=number(said.get("projected_usd")),
        budget_usd=number(said.get("budget_usd")) if entry is None else entry.budget_usd,
        budget_hours=number(said.get("budget_hours")) if entry is None else entry.budget_hours,
        hours=hours,
        idle_usd=number(said.get("idle_usd")),
        redone_usd=number(said.get("redone_usd")),
        source="" if entry is None else entry.source,
    )
