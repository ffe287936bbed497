"""What a run costs and may cost, asked before anything is started. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.dispatch import Hooks
from stoker.errors import ExitCode, OverBudgetError
from stoker.registry import make_plugins
from stoker.run.ledger import SECONDS_PER_HOUR, Entry, Ledger, Tariff, read_ledger
from stoker.run.lines import format_usd
from stoker.run.watching import handle

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.run.directory import RunDirectory


def find_tariff(recipe: Recipe) -> Tariff | None:
    """The tariff that a plugin of the recipe knows; None where no plugin keeps accounts.

    Raises `PluginError`, and what the plugin raises where it finds no price.
    """
    hooks = Hooks(make_plugins(recipe.plugins))
    tariff: Tariff | None = hooks.own("make_tariff", lambda: None, recipe=recipe)
    return tariff


def refuse_over_budget(directory: RunDirectory, tariff: Tariff | None) -> None:
    """Raise `OverBudgetError` where a run has spent its budget, or left because of one that has not been
    raised since."""
    if tariff is None:
        return
    ledger = read_ledger(directory.ledger_path)
    spent = ledger.is_spent(tariff.budget_usd, tariff.budget_hours)
    left = directory.read_record().exit_code == ExitCode.OVER_BUDGET
    if spent or (left and ledger.latest and not _is_raised(ledger, ledger.latest[0], tariff)):
        raise OverBudgetError(
            f"run {directory.name!r} has used its budget: {describe_budget(ledger, tariff)}.",
            hint=_how_to_go_on(directory, tariff),
        )


def _how_to_go_on(directory: RunDirectory, tariff: Tariff) -> str:
    key = "budget_usd" if tariff.budget_usd is not None else "budget_hours"
    return f"Go on with more: stoker resume {handle(directory)} --set {tariff.table}.{key}=NUMBER"


def _is_raised(ledger: Ledger, before: Entry, tariff: Tariff) -> bool:
    """Whether the budget that ended the latest attempt, the one that was used most, is higher now."""
    budgets = (
        (ledger.usd, before.budget_usd, tariff.budget_usd),
        (ledger.seconds / SECONDS_PER_HOUR, before.budget_hours, tariff.budget_hours),
    )
    used = [(spent / old, old, new) for spent, old, new in budgets if old]
    _, old, new = max(used, key=lambda each: each[0], default=(0.0, 0.0, None))
    return new is None or new > old


def describe_budget(ledger: Ledger, tariff: Tariff) -> str:
    """`$4.98 of $5.00 and 2.0 of 3.0 hours spent`."""
    parts = []
    if tariff.budget_usd is not None:
        parts.append(f"{format_usd(ledger.usd)} of {format_usd(tariff.budget_usd)}")
    if tariff.budget_hours is not None:
        parts.append(f"{ledger.seconds / SECONDS_PER_HOUR:.4g} of {tariff.budget_hours:.4g} hours")
    return f"{' and '.join(parts)} spent"
