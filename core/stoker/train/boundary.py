"""What all ranks decide together between two steps: evaluate, save, stop.

Every wish (a plugin's vote, a notice, a signal on any rank, a request in the run directory, the clock)
becomes one number in a small vector that is reduced by maximum over a gloo group, and so does how far
each rank is with the checkpoint it writes. Where the host waits for the device anyway (log points,
evaluations) it is reduced at once; elsewhere the reduction is started at one boundary and read at the
next, so the device never waits for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from stoker.errors import Interrupted, OverBudgetError
from stoker.run.control import Inbox
from stoker.run.notices import Notice
from stoker.train.limits import TOO_EARLY, limits_of

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.signals import SignalFlags
    from stoker.train.state import State

LIMIT, FINISH, INTERRUPT, PREEMPT = 1, 2, 3, 4

_STOP, _CHECKPOINT, _EVALUATE, _PROBLEM, _BEHIND, _FAILED_WRITE, _URGENCY = range(7)
"""Places in the vector. `_BEHIND` and `_URGENCY` are `_FAR` minus a number: the least of it counts."""
_FAR = 2**30


@dataclass(frozen=True)
class Decision:
    """What all ranks do at this boundary."""

    stop: int = 0
    """0 go on; LIMIT: leave, because the run has used up what it was allowed; FINISH: a plugin wants
    the end, the run is done; INTERRUPT: leave, to be resumed; PREEMPT: the same, because the machine is
    about to be taken away."""
    checkpoint: bool = False
    evaluate: bool = False

    @property
    def interrupts(self) -> bool:
        """Whether the run is to leave before its end."""
        return _leaves(self.stop)

    @property
    def preempts(self) -> bool:
        """Whether it is to leave because the machine is about to be taken away."""
        return self.stop == PREEMPT


@dataclass
class Writes:
    """How far a rank, or all of them, is with writing checkpoints, which count from 1."""

    over: int = 0
    """Number of the latest one that is written, or could not be."""
    failed: int = 0
    """Number of the latest one that could not be written."""


class Boundary:
    """Collects this rank's wishes and agrees on them with the other ranks."""

    def __init__(self, run: Run, signals: SignalFlags) -> None:
        self.run = run
        self.signals = signals
        self.reason = ""
        """Why this rank wants to be interrupted, in words."""
        self.limit = ""
        """What the run has used up, in words, as far as this rank knows."""
        self.own_writes: Callable[[], Writes] = Writes
        """How far this rank is; the saver says it."""
        self.writes = Writes()
        """The least of `over` and the latest `failed` on any rank, as agreed last."""
        self.save_due_at = math.inf
        """When the clock asks for a checkpoint, in seconds of `time.monotonic()`; set on rank 0."""
        self._notices: list[Notice] = []
        self._deadline: float | None = None
        self._inbox = Inbox(run.directory) if run.is_main else None
        self._group = dist.new_group(backend="gloo") if run.world_size > 1 else None
        self._pending: _Reduction | None = None
        self._carried = _nothing()
        self._just_saved = False
        self._checkpoint_wanted = False

    def decide(self, state: State, *, now: bool, before: Decision | None = None) -> Decision:
        """Agree on this boundary's wishes, at once (`now`) or with the previous boundary's answer.

        `before` is what was decided earlier at the same boundary, before an evaluation; nothing of
        it is lost, and nobody is asked for another evaluation.
        """
        agreed = self._collect()
        started = self._start(self._wishes(state, evaluated=before is not None))
        if now:
            agreed = _merged(agreed, started.wait())
        else:
            self._pending = started
        self._note(agreed)
        before = before or Decision()
        return Decision(
            stop=max(agreed[_STOP], before.stop),
            checkpoint=bool(agreed[_CHECKPOINT]) or before.checkpoint,
            evaluate=bool(agreed[_EVALUATE]),
        )

    def interrupted_meanwhile(self) -> bool:
        """Between two batches of an evaluation: whether all ranks know of an interruption.

        Every rank calls this equally often. Other wishes are kept for the next decision.
        """
        self._carried = self._collect()
        self._pending = self._start(self._pushed_wishes())
        return _leaves(self._carried[_STOP])

    def check_interrupted(self) -> None:
        """For start-up, where there is nothing to save: leave if any rank was asked to.

        Collective. Raises `Interrupted`, or `OverBudgetError` where a limit is why.
        """
        self._carried = _merged(self._carried, self._start(self._pushed_wishes()).wait())
        if self._carried[_STOP] == LIMIT:
            raise OverBudgetError(f"{self.limit}: {TOO_EARLY}" if self.limit else TOO_EARLY)
        if _leaves(self._carried[_STOP]):
            raise Interrupted(TOO_EARLY, preempted=self._carried[_STOP] == PREEMPT)

    def saving(self) -> None:
        """A checkpoint is being made, which answers the wishes for one that are under way."""
        self._just_saved = True

    def all_fine(self, fine: bool) -> bool:
        """Whether every rank says so. Collective; also a barrier."""
        vector = _nothing()
        vector[_PROBLEM] = int(not fine)
        return self._start(vector).wait()[_PROBLEM] == 0

    def total(self, number: int) -> int:
        """The sum over all ranks. Collective."""
        if self._group is None:
            return number
        value = torch.tensor(number, dtype=torch.int64)
        dist.all_reduce(value, group=self._group)
        return int(value)

    def close(self) -> None:
        """Let go of the group, and of its threads: a process may train several runs."""
        if self._group is not None:
            self._collect()
            dist.destroy_process_group(self._group)
            self._group = None

    def seconds_left(self) -> float | None:
        """Until the machine is taken away, as far as any rank has been told."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def _wishes(self, state: State, *, evaluated: bool) -> list[int]:
        hooks, wishes = self.run.hooks, self._pushed_wishes()
        if not evaluated and hooks.vote("should_evaluate", state=state):
            wishes[_EVALUATE] = 1
        due = time.monotonic() >= self.save_due_at
        if hooks.vote("should_checkpoint", state=state) or due:
            wishes[_CHECKPOINT] = 1
        if hooks.vote("should_stop", state=state):
            wishes[_STOP] = max(wishes[_STOP], FINISH)
        return wishes

    def _pushed_wishes(self) -> list[int]:
        """Wishes from outside: signals, notices, requests in the run directory."""
        for request in self._inbox.poll() if self._inbox else []:
            if request.kind == "stop":
                self.reason = self.reason or "asked to stop"
            self._checkpoint_wanted |= request.kind == "checkpoint"
        if self.signals.stop:
            self.reason = self.reason or f"received {self.signals.stop}"
        self._hear_notices()
        self.limit = self.limit or limits_of(self.run)
        wishes = _nothing()
        if self.limit:
            wishes[_STOP] = LIMIT
        if self.reason:
            wishes[_STOP] = PREEMPT if any(notice.leave for notice in self._notices) else INTERRUPT
        wishes[_CHECKPOINT] = int(self._checkpoint_wanted or self.signals.checkpoint)
        self._checkpoint_wanted = self.signals.checkpoint = False
        left = self.seconds_left()
        if left is not None:
            wishes[_URGENCY] = _FAR - max(0, min(int(left), _FAR - 1))
        own = self.own_writes()
        wishes[_BEHIND] = _FAR - own.over
        wishes[_FAILED_WRITE] = own.failed
        return wishes

    def _hear_notices(self) -> None:
        for _, notice in self.run.hooks.collect("collect_notices", run=self.run):
            if notice in self._notices:
                continue
            self._notices.append(notice)
            self._checkpoint_wanted |= not notice.leave
            if notice.leave:
                self.reason = self.reason or notice.reason
                self._hurry(notice.deadline)
            self.run.events.write(
                "preemption",
                phase="notice",
                provider=notice.provider,
                message=notice.reason,
                leave=notice.leave,
                received=notice.received,
                seconds_left=notice.seconds_left(),
            )

    def _hurry(self, deadline: float | None) -> None:
        if deadline is not None:
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def _note(self, agreed: list[int]) -> None:
        """Take over what others know: writes that are over, and the nearest deadline."""
        if agreed[_BEHIND]:
            self.writes.over = max(self.writes.over, _FAR - agreed[_BEHIND])
        self.writes.failed = max(self.writes.failed, agreed[_FAILED_WRITE])
        if agreed[_URGENCY]:
            self._hurry(time.monotonic() + _FAR - agreed[_URGENCY])

    def _start(self, wishes: list[int]) -> _Reduction:
        if self._group is None:
            return _Reduction(wishes)
        vector = torch.tensor(wishes, dtype=torch.int32)
        return _Reduction(vector, dist.all_reduce(vector, dist.ReduceOp.MAX, self._group, async_op=True))

    def _collect(self) -> list[int]:
        """What was agreed since the last decision."""
        pending, self._pending = self._pending, None
        agreed, self._carried = self._carried, _nothing()
        if pending is not None:
            agreed = _merged(agreed, pending.wait())
        if self._just_saved:
            agreed[_CHECKPOINT], self._just_saved = 0, False
        return agreed


@dataclass(frozen=True)
class _Reduction:
    """A vector on its way to the other ranks; of a rank alone, what it says."""

    vector: torch.Tensor | list[int]
    work: dist.Work | None = None

    def wait(self) -> list[int]:
        """What all ranks say."""
        if self.work is not None:
            self.work.wait()
        return self.vector if isinstance(self.vector, list) else self.vector.tolist()


def _leaves(stop: int) -> bool:
    """Whether a stop is to leave the run before its end."""
    return stop in (LIMIT, INTERRUPT, PREEMPT)


def _merged(earlier: list[int], later: list[int]) -> list[int]:
    """All wishes of both. How far writes are only ever grows, so the later answer counts."""
    merged = [max(pair) for pair in zip(earlier, later, strict=True)]
    merged[_BEHIND] = later[_BEHIND]
    return merged


def _nothing() -> list[int]:
    return [0] * 7
