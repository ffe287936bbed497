"""What all ranks decide together between two steps: evaluate, save, stop.

Every wish (a plugin's vote, a signal on any rank, a request in the run directory, the clock) becomes
one number in a small vector that is reduced by maximum over a gloo group. Where the host waits
for the device anyway (log points, evaluations) it is reduced at once; elsewhere the reduction is
started at one boundary and read at the next, so the device never waits for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from stoker.errors import Interrupted
from stoker.run.control import Inbox

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.signals import SignalFlags
    from stoker.train.state import State

FINISH, INTERRUPT = 1, 2


@dataclass(frozen=True)
class Decision:
    """What all ranks do at this boundary."""

    stop: int = 0
    """0 go on; FINISH: a plugin wants the end, the run is done; INTERRUPT: leave, to be resumed."""
    checkpoint: bool = False
    evaluate: bool = False


class Boundary:
    """Collects this rank's wishes and agrees on them with the other ranks."""

    def __init__(self, run: Run, signals: SignalFlags) -> None:
        self.run = run
        self.signals = signals
        self.reason = ""
        """Why this rank wants to be interrupted, in words."""
        self._inbox = Inbox(run.directory) if run.is_main else None
        self._group = dist.new_group(backend="gloo") if run.world_size > 1 else None
        self._pending: tuple[torch.Tensor, dist.Work | None] | None = None
        self._carried = torch.zeros(3, dtype=torch.int32)
        self._just_saved = False
        self._checkpoint_wanted = False
        self._every_steps, self._every_seconds = parse_interval(run.recipe.checkpoint.every)
        self._last_save = time.monotonic()

    def decide(self, state: State, *, now: bool, before: Decision | None = None) -> Decision:
        """Agree on this boundary's wishes, at once (`now`) or with the previous boundary's answer.

        `before` is what was decided earlier at the same boundary, before an evaluation; nothing of
        it is lost, and nobody is asked for another evaluation.
        """
        started_earlier = self._collect()
        started = self._start(self._wishes(state, evaluated=before is not None))
        if now:
            started_earlier = torch.maximum(started_earlier, self._wait(started))
        else:
            self._pending = started
        stop, checkpoint, evaluate = started_earlier.tolist()
        due = self._every_steps > 0 and state.step % self._every_steps == 0
        before = before or Decision()
        return Decision(
            stop=max(stop, before.stop),
            checkpoint=bool(checkpoint) or due or before.checkpoint,
            evaluate=bool(evaluate),
        )

    def interrupted_meanwhile(self) -> bool:
        """Between two batches of an evaluation: whether all ranks know of an interruption.

        Every rank calls this equally often. Other wishes are kept for the next decision.
        """
        self._carried = self._collect()
        self._pending = self._start(self._pushed_wishes())
        return bool(self._carried[0] == INTERRUPT)

    def check_interrupted(self) -> None:
        """For start-up, where there is nothing to save: leave if any rank was asked to.

        Collective. Raises `Interrupted`.
        """
        self._carried = torch.maximum(self._carried, self._wait(self._start(self._pushed_wishes())))
        if self._carried[0] == INTERRUPT:
            raise Interrupted("stopped during start-up, before the first step.")

    def saved(self) -> None:
        """A checkpoint was committed, which also answers the wishes for one that are under way."""
        self._last_save = time.monotonic()
        self._just_saved = True

    def all_fine(self, fine: bool) -> bool:
        """Whether every rank says so. Collective; also a barrier."""
        return bool(self._wait(self._start([0, 0, int(not fine)]))[2] == 0)

    def _wishes(self, state: State, *, evaluated: bool) -> list[int]:
        hooks = self.run.hooks
        stop, checkpoint, evaluate = self._pushed_wishes()
        if not evaluated:
            evaluate |= bool(hooks.vote("should_evaluate", state=state))
        checkpoint |= bool(hooks.vote("should_checkpoint", state=state))
        if self.run.is_main and 0 < self._every_seconds <= time.monotonic() - self._last_save:
            checkpoint |= True
        if hooks.vote("should_stop", state=state):
            stop = max(stop, FINISH)
        return [stop, int(checkpoint), int(evaluate)]

    def _pushed_wishes(self) -> list[int]:
        """Wishes from outside: signals and requests in the run directory."""
        for request in self._inbox.poll() if self._inbox else []:
            if request.kind == "stop":
                self.reason = self.reason or "asked to stop"
            self._checkpoint_wanted |= request.kind == "checkpoint"
        if self.signals.stop:
            self.reason = self.reason or f"received {self.signals.stop}"
        checkpoint = self._checkpoint_wanted or self.signals.checkpoint
        self._checkpoint_wanted = self.signals.checkpoint = False
        return [INTERRUPT if self.reason else 0, int(checkpoint), 0]

    def _start(self, wishes: list[int]) -> tuple[torch.Tensor, dist.Work | None]:
        vector = torch.tensor(wishes, dtype=torch.int32)
        if self._group is None:
            return vector, None
        return vector, dist.all_reduce(vector, dist.ReduceOp.MAX, self._group, async_op=True)

    @staticmethod
    def _wait(started: tuple[torch.Tensor, dist.Work | None]) -> torch.Tensor:
        vector, work = started
        if work is not None:
            work.wait()
        return vector

    def _collect(self) -> torch.Tensor:
        """What was agreed since the last decision."""
        pending, self._pending = self._pending, None
        agreed, self._carried = self._carried, torch.zeros(3, dtype=torch.int32)
        if pending is not None:
            agreed = torch.maximum(agreed, self._wait(pending))
        if self._just_saved:
            agreed[1], self._just_saved = 0, False
        return agreed


def parse_interval(every: str) -> tuple[int, float]:
    """`"200 steps"` -> (200, 0.0), `"10 min"` -> (0, 600.0)."""
    number, unit = every.split()
    return (0, float(number) * 60) if unit == "min" else (int(number), 0.0)
