"""Whether a run may go on: its ledger against its budget, before anything is started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.errors import ExitCode, OverBudgetError
from stoker.run.budget import refuse_over_budget
from stoker.run.directory import RunDirectory
from stoker.run.ledger import Tariff, append_entry
from stoker.run.meter import Meter

TWO_DOLLARS = Tariff(usd_per_gpu_hour=3600.0, source="test", budget_usd=2.0, table="plugins.purse")


def spend(directory: RunDirectory, seconds: float, tariff: Tariff = TWO_DOLLARS) -> None:
    """An attempt of one GPU."""
    begun = Meter(directory, tariff, attempt=1, gpus=1).begun
    usd = seconds * tariff.usd_per_gpu_hour / 3600
    for kind in ("begin", "end"):
        changes: dict[str, Any] = {"kind": kind, "seconds": seconds, "usd": usd}
        append_entry(directory.ledger_path, replace(begun, **changes))


def leave_over_budget(directory: RunDirectory) -> None:
    directory.update_record(state="stopped", exit_code=int(ExitCode.OVER_BUDGET))


def test_a_run_that_has_spent_its_budget_is_refused_with_4_and_the_way_on(
    directory: RunDirectory,
) -> None:
    spend(directory, 2.5)
    with pytest.raises(OverBudgetError, match=r"'fire' has used its budget: \$2\.50 of \$2\.00") as info:
        refuse_over_budget(directory, TWO_DOLLARS)
    assert info.value.exit_code == 4
    assert info.value.hint.endswith("--set plugins.purse.budget_usd=NUMBER")


def test_one_that_has_not_goes_on(directory: RunDirectory) -> None:
    spend(directory, 1.5)
    refuse_over_budget(directory, TWO_DOLLARS)


def test_one_that_stopped_a_step_before_the_end_of_its_budget_needs_a_higher_one(
    directory: RunDirectory,
) -> None:
    spend(directory, 1.95)
    leave_over_budget(directory)
    with pytest.raises(OverBudgetError):
        refuse_over_budget(directory, TWO_DOLLARS)
    with pytest.raises(OverBudgetError):
        refuse_over_budget(directory, replace(TWO_DOLLARS, budget_usd=1.99))
    refuse_over_budget(directory, replace(TWO_DOLLARS, budget_usd=2.5))
    refuse_over_budget(directory, replace(TWO_DOLLARS, budget_usd=None))


def test_a_higher_budget_of_the_other_kind_does_not_help(directory: RunDirectory) -> None:
    tariff = replace(TWO_DOLLARS, budget_hours=1.0)
    spend(directory, 1.95, tariff)
    leave_over_budget(directory)
    with pytest.raises(OverBudgetError):
        refuse_over_budget(directory, replace(tariff, budget_hours=9.0))
    refuse_over_budget(directory, replace(tariff, budget_usd=9.0))


def test_hours_are_counted_by_the_clock(directory: RunDirectory) -> None:
    tariff = replace(TWO_DOLLARS, budget_usd=None, budget_hours=0.5)
    spend(directory, 1801, tariff)
    with pytest.raises(OverBudgetError, match=r"0\.5003 of 0\.5 hours spent") as info:
        refuse_over_budget(directory, tariff)
    assert "budget_hours" in info.value.hint


def test_without_a_tariff_nobody_keeps_accounts(directory: RunDirectory) -> None:
    spend(directory, 99)
    refuse_over_budget(directory, None)
