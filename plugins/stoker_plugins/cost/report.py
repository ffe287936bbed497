"""`cost` events: what is spent, what the whole run is going to cost, and what was paid for nothing."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from stoker.run.lines import format_seconds, format_usd

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.state import State
    from stoker_plugins.cost import CostConfig
    from stoker_plugins.cost.account import Account
    from stoker_plugins.cost.losses import Losses


class Reporter:
    """Writes the events of rank 0, at log points and as training ends."""

    def __init__(self, config: CostConfig, account: Account, losses: Losses, run: Run) -> None:
        self.config = config
        self._account = account
        self._losses = losses
        self._run = run
        self._first_step = 0
        self._training_since = 0.0
        self._reported = -math.inf

    def begin(self, state: State) -> None:
        """Training begins, or goes on, after `state.step`."""
        self._first_step, self._training_since = state.step, time.monotonic()

    def report(self, state: State, *, is_last: bool = False) -> None:
        """Write an event if one is due. The last one is, and has a sentence beside it."""
        now = time.monotonic()
        if now - self._reported < self.config.interval_seconds and not is_last:
            return
        self._reported = now
        account, losses = self._account, self._losses
        usd = account.usd
        per_million = usd / state.tokens * 1e6 if state.tokens else None
        idle = losses.idle_usd_before + account.cost_of_one(losses.idle_gpu_seconds)
        redone = losses.redone_usd_before + account.cost_of(losses.redone_seconds)
        self._run.events.write(
            "cost",
            step=state.step,
            furthest_step=max(state.step, losses.furthest_step),
            usd=usd,
            seconds=account.seconds,
            gpus=account.gpus,
            usd_per_hour=account.usd_per_hour,
            projected_usd=self._projected(state, usd),
            usd_per_million_tokens=per_million,
            idle_usd=idle if losses.is_measured or losses.idle_usd_before else None,
            redone_usd=redone,
            budget_usd=self.config.budget_usd,
            budget_hours=self.config.budget_hours,
        )
        if is_last:
            self._say(usd, per_million, idle, redone)

    def _projected(self, state: State, usd: float) -> float | None:
        """With the steps that are left at this attempt's pace, its evaluations and saves included."""
        done = state.step - self._first_step
        if done < 1:
            return None
        seconds = (time.monotonic() - self._training_since) / done
        return usd + self._account.cost_of(seconds * (state.total_steps - state.step))

    def _say(self, usd: float, per_million: float | None, idle: float, redone: float) -> None:
        account = self._account
        parts = [f"cost: {format_usd(usd)} for {format_seconds(account.seconds)}"]
        if per_million is not None:
            parts.append(f"{format_usd(per_million)} per million tokens")
        if idle > 0:
            parts.append(f"{format_usd(idle)} of it for ranks that waited for others")
        if redone > 0:
            parts.append(f"{format_usd(redone)} for steps that were done again")
        self._run.events.write("note", message=", ".join(parts))
