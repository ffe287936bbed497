"""When a budget warns, and when it says stop: before the step that would go beyond it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stoker_plugins.cost import CostConfig
from stoker_plugins.cost.budget import Budget


class Purse:
    """A run at a dollar a second: `spent` is what its account says, `said` its alerts."""

    def __init__(self, log_every: int = 1, **config: Any) -> None:
        self.spent = 0.0
        self.said: list[str] = []
        self.run = SimpleNamespace(
            step=0,
            recipe=SimpleNamespace(train=SimpleNamespace(log_every=log_every)),
            events=SimpleNamespace(write=lambda kind, message: self.said.append(message)),
        )
        self.budget = Budget(CostConfig(usd_per_gpu_hour=3600.0, **config), self, self.run)  # type: ignore[arg-type]

    @property
    def usd(self) -> float:
        return self.spent

    @property
    def hours(self) -> float:
        return self.spent / 3600

    def cost_of(self, seconds: float) -> float:
        return seconds

    def steps_until_stop(self, seconds: float = 1.0) -> int:
        """Do steps of so many seconds; the last step's number when all ranks know of the stop."""
        while self.run.step < 1000:
            if self.budget.look() is not None:
                return self.run.step + (self.run.step % self.run.recipe.train.log_every > 0)
            self.run.step += 1
            self.budget.note_step(seconds)
            self.spent += seconds
        pytest.fail("it never stops")


def test_it_stops_before_the_step_that_would_go_beyond() -> None:
    purse = Purse(budget_usd=10.5)
    assert purse.steps_until_stop() == 10
    assert purse.said[-1].startswith("the budget of $10.50 is used up: $10.00, and another step would")


@pytest.mark.parametrize("log_every", [2, 3, 7, 100])
@pytest.mark.parametrize("budget", [9.9, 10.0, 10.5, 11.0])
def test_between_log_points_it_says_so_a_step_earlier(log_every: int, budget: float) -> None:
    last = Purse(log_every, budget_usd=budget).steps_until_stop()
    assert budget - 3 <= last <= budget


def test_hours_count_by_the_clock() -> None:
    purse = Purse(budget_hours=10.5 / 3600)
    assert purse.steps_until_stop() == 10
    assert "0.002917 hours" in purse.said[-1]
    assert "plugins.cost.budget_hours" in purse.said[-1]


def test_the_budget_that_is_used_up_first_counts() -> None:
    assert Purse(budget_usd=8.5, budget_hours=1).steps_until_stop() == 8
    assert Purse(budget_usd=99, budget_hours=5.5 / 3600).steps_until_stop() == 5


def test_it_warns_once_at_four_fifths() -> None:
    purse = Purse(budget_usd=100)
    purse.steps_until_stop()
    assert purse.said[0] == "80% of the budget of $100.00 is used: $80.00"
    assert len(purse.said) == 2


def test_the_share_it_warns_at_can_be_chosen() -> None:
    purse = Purse(budget_usd=100, warn_at=0.5)
    purse.steps_until_stop()
    assert purse.said[0].startswith("50% of the budget")


def test_a_step_that_suddenly_takes_three_times_as_long_costs_no_further_one() -> None:
    purse = Purse(budget_usd=10.5)
    for seconds in (1, 1, 1, 1, 1, 1, 1, 1, 1, 3):
        assert purse.budget.look() is None
        purse.run.step += 1
        purse.budget.note_step(seconds)
        purse.spent += seconds
    assert purse.budget.look() is not None


def test_without_a_budget_it_never_stops() -> None:
    purse = Purse()
    purse.spent = 1e9
    assert purse.budget.look() is None
    assert purse.said == []
