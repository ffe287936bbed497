"""Warns when most of a budget is spent, and says stop before it is exceeded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.run.ledger import SECONDS_PER_HOUR
from stoker.run.lines import format_usd
from stoker_plugins.cost.price import TABLE

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker_plugins.cost import CostConfig
    from stoker_plugins.cost.account import Account


@dataclass(frozen=True)
class Use:
    """How much of one budget is used."""

    option: str
    spent: float
    budget: float
    per_second: float
    unit: str = ""

    def reaches(self, share: float, ahead_seconds: float = 0.0) -> bool:
        """Whether that share is used, or will be in so many seconds."""
        return self.spent + self.per_second * ahead_seconds >= share * self.budget

    def describe(self, amount: float) -> str:
        """`$5.00` or `12 hours`."""
        return f"{amount:.4g} {self.unit}" if self.unit else format_usd(amount)


class Budget:
    """The budgets of a run, looked at between two steps. On rank 0."""

    def __init__(self, config: CostConfig, account: Account, run: Run) -> None:
        self.config = config
        self._account = account
        self._run = run
        self._step_seconds = 0.0
        self._step_began = 0.0
        self._warned: set[str] = set()
        self._limit: str | None = None

    def step_begins(self) -> None:
        """A step begins."""
        self._step_began = time.monotonic()

    def step_ends(self) -> None:
        """It has been queued on the device, or is done."""
        self._step_seconds = time.monotonic() - self._step_began

    def note_step(self, seconds: float) -> None:
        """How long a step really took on the device, known at log points."""
        self._step_seconds = max(self._step_seconds, seconds)

    def look(self) -> str | None:
        """Why the run has to stop here, in words; the same from then on."""
        if self._limit is None:
            ahead = self._steps_to_come * self._step_seconds
            for use in self._uses():
                if use.reaches(1.0, ahead):
                    self._stop(use)
                    break
                self._warn(use)
        return self._limit

    @property
    def _steps_to_come(self) -> int:
        """Steps until it can stop if it does not now: between log points wishes count a step later."""
        return 1 if (self._run.step + 1) % self._run.recipe.train.log_every == 0 else 2

    def _uses(self) -> Iterator[Use]:
        account, config = self._account, self.config
        if config.budget_usd is not None:
            yield Use("budget_usd", account.usd, config.budget_usd, account.cost_of(1.0))
        if config.budget_hours is not None:
            per_second = 1 / SECONDS_PER_HOUR
            yield Use("budget_hours", account.hours, config.budget_hours, per_second, "hours")

    def _warn(self, use: Use) -> None:
        if use.option in self._warned or not use.reaches(self.config.warn_at):
            return
        self._warned.add(use.option)
        share = use.spent / use.budget
        budget, spent = use.describe(use.budget), use.describe(use.spent)
        message = f"{share:.0%} of the budget of {budget} is used: {spent}"
        self._run.events.write("alert", message=message)

    def _stop(self, use: Use) -> None:
        budget, spent = use.describe(use.budget), use.describe(use.spent)
        self._limit = (
            f"the budget of {budget} is used up: {spent}, and another step would go beyond it "
            f"({TABLE}.{use.option})"
        )
        self._run.events.write("alert", message=f"{self._limit}; saving and stopping")
