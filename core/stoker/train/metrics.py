"""Rows of numbers, one for each step, kept on the device until a log point."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from stoker.train.arrival import excess
from stoker.train.blame import report_non_finite
from stoker.train.split import make_split, part_seconds, step_seconds

if TYPE_CHECKING:
    from stoker.errors import NonFiniteError
    from stoker.train.state import State


@dataclass(frozen=True)
class _Row:
    step: int
    loss: Tensor
    """This rank's loss sum over the whole step's supervised tokens."""
    gradient_norm: Tensor
    failed: Tensor
    num_skipped: Tensor
    """Optimizer steps that were no-ops so far, in this attempt."""
    learning_rate: float
    num_tokens: int
    tokens: int
    supervised_tokens: int
    saving_seconds: float
    """For which training stood still before this step."""


class StepLog:
    """Collects device scalars step by step; `flush` brings them to the host in one copy."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.failure: NonFiniteError | None = None
        """Set by `flush` when a step's loss or gradients were not finite."""
        self.skipped: list[int] = []
        """Steps that `flush` found to have been skipped by loss scaling."""
        self._num_skipped = 0.0
        self._rows: list[_Row] = []
        self.split = make_split(state.engine.device)
        """The loop says here which part of a step has just ended."""
        self._saving_seconds = 0.0

    def restart_clock(self) -> None:
        """Leave out what happened since the last step: an evaluation, a checkpoint."""
        self.split.restart()

    def note_saving(self, seconds: float) -> None:
        """Training stood still for a checkpoint; the next step's row says for how long."""
        self._saving_seconds += seconds

    def append(
        self, loss: Tensor, gradient_norm: Tensor, learning_rate: float, num_tokens: int
    ) -> Mapping[str, Tensor]:
        """Note a step just done. Returns its metrics for `on_step_end`, still on the device."""
        state = self.state
        self.split.end_step()
        saving, self._saving_seconds = self._saving_seconds, 0.0
        self._rows.append(
            _Row(
                state.step,
                loss,
                gradient_norm,
                state.engine.failed().clone(),
                state.engine.skipped().clone(),
                learning_rate,
                num_tokens,
                state.tokens,
                state.supervised_tokens,
                saving,
            )
        )
        return {"loss": loss, "grad_norm": gradient_norm}

    def flush(self) -> list[dict[str, float]]:
        """One dictionary for each step since the last flush, equal on all ranks but for the times.

        A synchronisation. Ends before the first step whose loss or gradients were not finite, and
        sets `failure` then.
        """
        if not self._rows:
            return []
        rows, self._rows = self._rows, []
        waited_here = self.state.engine.waited()
        losses, broken, waited = self._over_ranks(
            torch.stack([row.loss.detach().float() for row in rows]), waited_here
        )
        norms = torch.stack([row.gradient_norm.float() for row in rows])
        failed = torch.stack([row.failed.float() for row in rows])
        num_skipped = torch.stack([row.num_skipped.float() for row in rows])
        # SYNC: the only copy from device to host between two log points.
        host = torch.stack([losses, norms, failed, num_skipped, *broken, *waited]).tolist()
        steps = self.split.read()
        ranks = 4 + len(broken)
        good = next((number for number, failed_at in enumerate(host[2]) if failed_at), len(rows))
        if good < len(rows):
            bad = [rank for rank, steps in enumerate(host[4:ranks]) if steps[good]]
            self.failure = report_non_finite(self.state, rows[good].step, bad)
        else:
            self._note_skips(rows, host[3])
        lost = self._lost(host[ranks:], len(rows))
        return [
            {
                "step": row.step,
                "loss": loss,
                "learning_rate": row.learning_rate,
                "grad_norm": norm,
                "tokens": row.tokens,
                "supervised_tokens": row.supervised_tokens,
                "tokens_per_second": row.num_tokens / step_seconds(times),
                "step_seconds": step_seconds(times),
                **part_seconds(times, waits.get("wait_seconds", 0.0)),
                **waits,
                **({"saving_seconds": row.saving_seconds} if row.saving_seconds else {}),
            }
            for row, loss, norm, times, waits in zip(rows, host[0], host[1], steps, lost, strict=True)
        ][:good]

    def _over_ranks(
        self, losses: Tensor, waits: Sequence[float] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over all ranks [steps], 1 where a rank's own part was not finite [ranks, steps], and
        what each waited for others [ranks, steps], or nothing where that is not known.

        Together, so that nothing more is exchanged when something has gone wrong.
        """
        run = self.state.run
        size = run.world_size
        all_of_it = losses.new_zeros(1 + size * (1 if waits is None else 2), len(losses))
        all_of_it[0] = losses
        all_of_it[1 + run.rank] = ~torch.isfinite(losses)
        if waits is not None:
            all_of_it[1 + size + run.rank] = torch.tensor(waits)
        if dist.is_initialized():
            dist.all_reduce(all_of_it)
        return all_of_it[0], all_of_it[1 : 1 + size], all_of_it[1 + size :]

    def _lost(self, waits: Sequence[Sequence[float]], num_rows: int) -> list[dict[str, float]]:
        """For each step: what this rank waited for the slowest, and what all ranks together did."""
        if not waits:
            return [{} for _ in range(num_rows)]
        lost = excess(waits)
        own, together = lost[self.state.run.rank], [sum(step) for step in zip(*lost, strict=True)]
        return [
            {"wait_seconds": wait, "idle_seconds": idle}
            for wait, idle in zip(own, together, strict=True)
        ]

    def _note_skips(self, rows: Sequence[_Row], counts: Sequence[float]) -> None:
        before = [self._num_skipped, *counts]
        pairs = zip(rows, itertools.pairwise(before), strict=True)
        self.skipped = [row.step for row, (earlier, now) in pairs if now > earlier]
        self._num_skipped = before[-1]
