"""Counts what a run costs while it runs, and ends it, saved, before its budget is exceeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.run.ledger import Tariff
from stoker.run.lines import format_usd
from stoker_plugins.cost.account import Account, open_account
from stoker_plugins.cost.budget import Budget
from stoker_plugins.cost.losses import Losses
from stoker_plugins.cost.price import TABLE, find_problems, find_usd_per_gpu_hour
from stoker_plugins.cost.report import Reporter

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.problems import Problem
    from stoker.run.context import Outcome, Run
    from stoker.train.state import State


class CostConfig(PluginConfig):
    """What an hour of a GPU costs, and how much the run may spend in all of its attempts."""

    usd_per_gpu_hour: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars for one GPU and one hour. Unset: from the price table.",
    )
    provider: str | None = Field(
        default=None,
        description="Whose price counts, such as `lambda`. Needed where usd_per_gpu_hour is not given.",
    )
    spot: bool = Field(
        default=False, description="Take the provider's price for machines it may take away."
    )
    gpu: str | None = Field(
        default=None,
        description="Type of GPU in the price table, such as `h100-80gb`. Unset: what is found here.",
    )
    budget_usd: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="US dollars that all attempts of the run together may cost.",
    )
    budget_hours: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Hours that all attempts together may last, on however many GPUs.",
    )
    warn_at: float = Field(
        default=0.8, gt=0, le=1, description="Share of a budget at which an alert says so."
    )
    interval_seconds: float = Field(
        default=10.0,
        ge=0.1,
        le=600,
        description="Seconds between two entries of the ledger, and between two `cost` events.",
    )


class Cost(Plugin[CostConfig]):
    """Keep the run's ledger, say what is spent and will be, and stop before a budget is exceeded.

    Machines are paid for from the beginning of an attempt to its end, start-up and saves included, so
    the supervisor keeps the ledger; rank 0 reads it, and reckons from there. Training stops before the
    step that would exceed the budget, judged by the last step's seconds; the save after it and the end
    of the ranks come on top.
    """

    Config: ClassVar[type[PluginConfig]] = CostConfig
    safe_on_resume = ("enabled", *CostConfig.model_fields)

    def __init__(self, config: CostConfig) -> None:
        super().__init__(config)
        self._account: Account | None = None
        self._budget: Budget | None = None
        self._losses = Losses()
        self._reporter: Reporter | None = None

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """A price must be known; options of a table that is not asked would say nothing."""
        return list(find_problems(self.config))

    @hookimpl
    def make_tariff(self, recipe: Recipe) -> Tariff:
        """Raises `UsageError` where there is no price for the GPUs of this machine."""
        usd_per_gpu_hour, source = find_usd_per_gpu_hour(self.config)
        return Tariff(
            usd_per_gpu_hour=usd_per_gpu_hour,
            source=source,
            interval_seconds=self.config.interval_seconds,
            budget_usd=self.config.budget_usd,
            budget_hours=self.config.budget_hours,
            table=TABLE,
        )

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Rank 0 finds the attempt's beginning in the ledger, or keeps the ledger itself."""
        if run.is_main:
            account = open_account(run, lambda: self.make_tariff(run.recipe))
            self._account = account
            self._budget = Budget(self.config, account, run)
            self._reporter = Reporter(self.config, account, self._losses, run)
            message = (
                f"cost: {format_usd(account.usd_per_hour)} an hour, {account.gpus} x "
                f"{format_usd(account.usd_per_gpu_hour)} ({account.source})"
            )
            run.events.write("note", message=message)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        if self._reporter is not None:
            self._losses.begin(state.run.directory.events_path)
            self._reporter.begin(state)

    @hookimpl
    def on_step_start(self, state: State) -> None:
        if self._budget is not None:
            self._budget.step_begins()

    @hookimpl
    def on_step_end(self, state: State) -> None:
        if self._budget is not None:
            self._budget.step_ends()

    @hookimpl
    def on_log(self, state: State, rows: Sequence[Mapping[str, float]]) -> None:
        if self._reporter is not None and self._budget is not None:
            self._budget.note_step(rows[-1]["step_seconds"])
            self._losses.note(rows)
            self._reporter.report(state)

    @hookimpl
    def collect_limits(self, run: Run) -> str | None:
        """On rank 0: what would be exceeded before anybody could stop."""
        return None if self._budget is None else self._budget.look()

    @hookimpl
    def on_train_end(self, state: State) -> None:
        if self._reporter is not None:
            self._reporter.report(state, is_last=True)

    @hookimpl
    def on_run_end(self, run: Run, outcome: Outcome) -> None:
        if self._account is not None:
            self._account.close()

    @hookimpl
    def on_exception(self, run: Run) -> None:
        if self._account is not None:
            self._account.close()
