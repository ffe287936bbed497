"""Evaluation: mean loss over supervised tokens of the held-out rows, without keeping logits."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from stoker.data.batches import plan_rows
from stoker.errors import NonFiniteError
from stoker.train.modes import evaluation_mode
from stoker.train.progress import Progress

if TYPE_CHECKING:
    from stoker.data.index import TokenIndex
    from stoker.train.boundary import Boundary
    from stoker.train.state import State


class Evaluator:
    """Evaluates on a fixed set of rows and keeps the best loss so far in the state."""

    def __init__(self, state: State, index: TokenIndex | None, boundary: Boundary) -> None:
        self.state = state
        self.index = index
        self.boundary = boundary

    def run(self) -> bool:
        """Evaluate, tell the hooks, write an `evaluate` event. False where there are no rows.

        A stop that is asked for meanwhile ends the evaluation at its next batch, without a result.
        """
        if self.index is None:
            return False
        hooks = self.state.run.hooks
        hooks.notify("on_evaluate_start", state=self.state)
        started = time.monotonic()
        loss = self._mean_loss(self.index)
        if loss is None:
            return False
        metrics = self._note(loss, self.index, time.monotonic() - started)
        hooks.notify("on_evaluate_end", state=self.state, metrics=metrics)
        return True

    @torch.no_grad()
    def _mean_loss(self, index: TokenIndex) -> float | None:
        state = self.state
        run = state.run
        rows = range(len(index))
        plan = plan_rows(state.step, rows, index, state.batching, run.rank, run.world_size)
        progress = Progress(run, "evaluating", len(plan.micro_batches), "batches")
        totals = torch.zeros(2, device=state.engine.device)
        with evaluation_mode(state.model):
            for done, own in enumerate(plan.micro_batches):
                if self.boundary.interrupted_meanwhile():
                    return None
                batch = state.collator(index, own).to(state.engine.device)
                totals += torch.stack(state.engine.forward(state.loss, batch))
                progress.update(done + 1)
        if dist.is_initialized():
            dist.all_reduce(totals)
        # SYNC: an evaluation ends with its number on the host.
        loss_sum, weight = totals.tolist()
        return float(loss_sum / weight)

    def _note(self, loss: float, index: TokenIndex, seconds: float) -> dict[str, float]:
        """Raises `NonFiniteError` for a loss that is no number."""
        state = self.state
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"the evaluation loss at step {state.step} is {loss}; nothing was saved after it.",
                hint="The model's weights or the evaluation rows are broken; look at both.",
            )
        if state.best_eval_loss is None or loss < state.best_eval_loss:
            state.best_eval_loss, state.best_step = loss, state.step
        metrics = {
            "eval_loss": loss,
            "best_eval_loss": state.best_eval_loss,
            "rows": len(index),
            "tokens": int(index.supervised_counts.sum()),
            "seconds": seconds,
        }
        state.evaluated_step = state.step
        state.metrics.update(eval_loss=loss, best_eval_loss=state.best_eval_loss)
        if state.run.is_main:
            state.run.events.write("evaluate", step=state.step, best_step=state.best_step, **metrics)
        return metrics
