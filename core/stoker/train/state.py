"""The state of training: what the loop changes, and what hooks are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stoker.data.batches import StepPlan, plan_step
from stoker.run.skips import Skip, batch_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from stoker.checkpoint.finding import Checkpoint
    from stoker.data.batches import Batching, Collator
    from stoker.data.order import Order
    from stoker.run.context import Run
    from stoker.train.base import BaseDigest
    from stoker.train.engine import Engine
    from stoker.train.loss import Loss
    from stoker.train.schedule import Schedule
    from stoker.train.work import Work


@dataclass
class State:
    """Everything of a run that training needs. A checkpoint stores the fields under "saved"."""

    run: Run
    engine: Engine
    model: nn.Module
    optimizer: torch.optim.Optimizer
    order: Order
    loss: Loss
    schedule: Schedule
    collator: Collator
    batching: Batching
    total_steps: int

    # saved
    step: int = 0
    """The step that runs, or ran last; steps count from 1."""
    tokens: int = 0
    """Non-padding tokens trained on so far."""
    supervised_tokens: int = 0
    best_eval_loss: float | None = None
    best_step: int = 0
    evaluated_step: int = -1
    """After which step the latest evaluation was; -1 before the first."""
    skipped_before: int = 0
    """Optimizer steps that earlier attempts skipped (fp16 overflows)."""

    # not saved
    metrics: dict[str, float] = field(default_factory=dict)
    """The latest value of everything logged or evaluated, by name."""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """Committed and still on disk, oldest first."""
    base: BaseDigest | None = None
    """On rank 0: the hash of what checkpoints do not hold; None where they hold all."""
    skips: tuple[Skip, ...] = ()
    """Batches of the order that no step takes; run.json keeps them."""
    work: Work | None = None
    """FLOPs of a token and what the devices could do; None where that cannot be counted."""

    @property
    def epoch(self) -> float:
        """Passes over the training rows so far."""
        return self.rows_passed / self.order.num_rows

    @property
    def rows_passed(self) -> int:
        """How far in the order's rows the run is, those of skipped batches included."""
        return batch_of(self.step, self.skips) * self.run.recipe.train.batch_size

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.run.recipe.run.seed

    def plan(self, step: int, rank: int) -> StepPlan:
        """What a rank does in a step, past or to come: a pure function of the two."""
        run, batch = self.run, batch_of(step, self.skips)
        return plan_step(self.order, run.index, step, self.batching, rank, run.world_size, batch=batch)
