"""What a run has used up, as its plugins say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.errors import OverBudgetError

if TYPE_CHECKING:
    from stoker.run.context import Run

TOO_EARLY = "stopped during start-up, before the first step."


def limits_of(run: Run) -> str:
    """In words, as far as this rank's plugins know; empty while nothing is used up."""
    return "; ".join(limit for _, limit in run.hooks.collect("collect_limits", run=run))


def raise_if_limited(run: Run) -> None:
    """For long work before ranks meet: leave alone, the others will follow. Raises `OverBudgetError`."""
    if limit := limits_of(run):
        raise OverBudgetError(f"{limit}: {TOO_EARLY}")
