"""Saves checkpoints from the engine's pieces, in the background, and decides which to keep.

A save begins with a copy of the state to host memory; training goes on while a thread on each rank
writes its part. The hooks hear of it at the boundary between two steps where all ranks agree that
everyone is done, or that someone could not write.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from stoker.checkpoint.background import Seal, Write
from stoker.checkpoint.commit import Commit, remove_leftovers
from stoker.checkpoint.finding import Checkpoint
from stoker.checkpoint.interval import (
    Interval,
    mean_seconds_between,
    parse_interval,
    young_daly_seconds,
)
from stoker.checkpoint.manifest import Manifest
from stoker.checkpoint.snapshot import Snapshot
from stoker.errors import StokerError, StorageError
from stoker.run.record import ATTEMPT_SECONDS
from stoker.train.boundary import Writes
from stoker.train.progress import Progress
from stoker.train.retention import choose_result, retain
from stoker.train.room import fits_in_memory, num_bytes, require_room, trained_shapes
from stoker.version import __version__

if TYPE_CHECKING:
    from stoker.train.base import BaseDigest
    from stoker.train.boundary import Boundary
    from stoker.train.engine import Piece
    from stoker.train.state import State

RETRY_SECONDS = 60.0
"""After a failed save; doubled after each further one in a row."""
RETRY_SECONDS_AT_END = 5.0
"""When there is nothing else left to do."""
SECONDS_TO_SEAL = 10.0
"""How long a rank that leaves because of an error waits for the other ranks' parts."""
COMMIT_SECONDS = "commit_seconds"
"""Key of `facts` in run.json: how long the latest checkpoint took until it was durable."""
SECONDS_WORTH_TELLING = 0.1
_SECONDS_BETWEEN_LOOKS = 0.02


class Saver:
    """Writes checkpoints. All ranks write their own pieces; rank 0 commits. One write at a time."""

    def __init__(self, boundary: Boundary) -> None:
        self.boundary = boundary
        self.run = boundary.run
        self.interval: Interval = parse_interval(self.run.recipe.checkpoint.every)
        self.result: Checkpoint | None = None
        """What would be the run's result if it ended now; kept whatever else is deleted."""
        self.commit_seconds: float | None = None
        """From the copy to the durable checkpoint, of the latest one, of an earlier attempt perhaps."""
        self.failures = 0
        """Saves in a row that could not be written."""
        self._facts = dict(self.run.directory.read_record().facts)
        if COMMIT_SECONDS in self._facts:
            self.commit_seconds = float(self._facts[COMMIT_SECONDS])
        self._attempt_started = time.monotonic()
        self._snapshot = Snapshot()
        self._write: Write | None = None
        self._step = 0
        self._started = 0.0
        self._number = 0
        self._must_succeed = False
        self._base: BaseDigest | None = None
        self._full_bytes = 0
        self._copies = self.run.recipe.checkpoint.asynchronous
        """Whether the state is copied and written in the background."""
        self._writes = Writes()
        boundary.own_writes = self._own_writes

    # -- when -----------------------------------------------------------------------------------

    def is_due(self, step: int) -> bool:
        """Whether `checkpoint.every` counts steps and this is one of them."""
        return self.interval.steps > 0 and step % self.interval.steps == 0

    def _schedule(self) -> None:
        """Ask for the next checkpoint, on rank 0, whose clock counts."""
        if not self.run.is_main:
            return
        seconds = self.interval.seconds or math.inf
        if self.interval.is_auto and self.commit_seconds is None and self._write is None:
            # An attempt that ended too soon never learnt how long a save takes: find out now.
            seconds = 0.0 if not self.failures else math.inf
        elif self.interval.is_auto and self.commit_seconds is not None:
            expected = self.run.recipe.checkpoint.hours_between_interruptions * 3600
            facts = self._facts | {ATTEMPT_SECONDS: time.monotonic() - self._attempt_started}
            seconds = young_daly_seconds(self.commit_seconds, mean_seconds_between(facts, expected))
        if self.failures:
            seconds = min(seconds, RETRY_SECONDS * 2 ** (self.failures - 1))
        self.boundary.save_due_at = time.monotonic() + seconds

    # -- saving ---------------------------------------------------------------------------------

    def begin(self, state: State) -> None:
        """Before the first step: is there room, and can a checkpoint be written at all?

        A run that starts saves at once, which costs next to nothing and shows before hours are paid
        for whether it works. Raises `StorageError` on every rank.
        """
        if self.run.is_main:
            remove_leftovers(self.run.directory.checkpoints_path)
        self._full_bytes = require_room(state, self.boundary)
        if not state.checkpoints:
            self._must_succeed = True
            self.save(state)
        self._schedule()

    def save(self, state: State) -> None:
        """Begin to save the step just done, unless it is saved; wait for an earlier save first.

        Training may go on when this returns. Raises `StorageError` on every rank when the earlier one
        was the last that may fail.
        """
        if self._holds(state):
            return
        if self._write is not None:
            self._wait_for_earlier(state)
        if bool(state.engine.failed()):
            raise StokerError("refusing to save after non-finite gradients.")
        self._number += 1
        self._step, self._started = state.step, time.monotonic()
        name = f"step-{state.step:08d}"
        self._base = state.base
        self._beat()
        self._event("started", name)
        seal = None
        if self.run.is_main:
            manifest = partial(_with_base, make_manifest(state), state.base)
            seal = Seal(manifest, trained_shapes(state), self.run.world_size)
        pieces = self._pieces(state)
        commit = Commit(self.run.directory.checkpoints_path, name, f"{self.run.attempt}-{self._number}")
        self._write = Write(self._number, commit, self.run.rank, pieces, seal)
        if not self._copies:
            self._write.write_part(self._beat)
        self._write.start()
        self.boundary.saving()
        self._schedule()
        if not self._copies:
            self.finish(state)

    def settle(self, state: State) -> None:
        """At every boundary, after its decision: take note of a save that all ranks are done with."""
        write, agreed = self._write, self.boundary.writes
        if write is None:
            return
        if agreed.failed == write.number:
            write.give_up()
        if agreed.over >= write.number:
            self._conclude(state, failed=agreed.failed == write.number)

    def finish(self, state: State) -> bool:
        """Wait for the save that is under way; False if it failed. Collective.

        Raises `StorageError` as `save` does.
        """
        write = self._write
        if write is None:
            return True
        self._wait_for(write, part=True)
        fine = self.boundary.all_fine(write.error is None)
        if not fine:
            write.give_up()
        self._wait_for(write)
        fine = self.boundary.all_fine(write.error is None) and fine
        self._conclude(state, failed=not fine)
        return fine

    def seconds_needed(self, state: State) -> float:
        """How long it takes until the step just done is durable, judged by the latest save."""
        commit, rest = self.commit_seconds or 0.0, 0.0
        if self._write is not None and not self._write.is_over:
            rest = max(0.0, commit - (time.monotonic() - self._started))
        return rest if self._holds(state) else rest + commit

    def finish_within(self, state: State, seconds: float) -> None:
        """Wait for the save that is under way, but only so long. Collective."""
        deadline = time.monotonic() + seconds
        write = self._write
        if write is None:
            return
        while not write.is_over and time.monotonic() < deadline:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if self.boundary.all_fine(write.is_over and write.error is None):
            self._conclude(state, failed=False)
        else:
            # Whatever becomes of it: nobody waits.
            write.give_up()
            self._write = None

    def save_at_end(self, state: State) -> None:
        """Save and wait until it is durable; try again while failures are allowed.

        Raises `StorageError` on every rank.
        """
        if self.run.is_main:
            self._record(state="saving")
        while True:
            self.save(state)
            if self.finish(state) and self._holds(state):
                break
            time.sleep(RETRY_SECONDS_AT_END)
        if self.result is None or self.result not in state.checkpoints:
            self.result = choose_result(state)
        if self.run.is_main:
            self._record(state="running", step=state.step)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Around training: a save that is under way when something raises is brought to its end.

        It is of a good step. Where other ranks do not finish theirs, it is left as it is.
        """
        try:
            yield
        finally:
            write = self._write
            if write is not None:
                self._wait_for(write, part=True)
                write.join(SECONDS_TO_SEAL)
                write.give_up()
                write.join()

    def _holds(self, state: State) -> bool:
        """Whether the step just done is saved, or is being saved."""
        if self._write is not None and self._step == state.step:
            return True
        return bool(state.checkpoints) and state.checkpoints[-1].step == state.step

    def _wait_for_earlier(self, state: State) -> None:
        """The earlier save takes longer than the interval: training waits, and that is said."""
        started, step = time.monotonic(), self._step
        self.finish(state)
        seconds = time.monotonic() - started
        if seconds >= SECONDS_WORTH_TELLING:
            self._event("waited", f"step-{step:08d}", seconds=seconds)

    def _pieces(self, state: State) -> Iterable[Piece]:
        """This rank's pieces, copied where they are to be written in the background."""
        if state.engine.streams_state:
            self._copies = False
        if not self._copies:
            return state.engine.tensors()
        pieces = list(state.engine.tensors())
        # The copy before the first step lacks the optimizer's states, so that of the next save is
        # larger: nothing keeps it for the time between.
        snapshot = self._snapshot if state.step else Snapshot()
        missing = num_bytes(pieces) - snapshot.num_bytes
        self._copies = self.boundary.all_fine(missing <= 0 or fits_in_memory(missing))
        if self._copies:
            return snapshot.take(pieces)
        self._note(
            "checkpoints are written while training waits: free host memory does not hold a copy of "
            f"the state, {missing / 1e9:.1f} GB on this rank"
        )
        return pieces

    def _wait_for(self, write: Write, *, part: bool = False) -> None:
        """Until a write is over, or this rank's part of it."""
        progress = Progress(self.run, "saving", 0, "MB")
        seen = (-1, -1)
        while not (write.is_over or (part and write.part_is_over)):
            # Rank 0 may wait for the digest of the base, too.
            now = (write.bytes_written, self._base.chunks_read if self._base else 0)
            if now != seen:
                seen = now
                self._beat()
                progress.update(write.bytes_written // 10**6)
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _beat(self) -> None:
        self.run.heartbeat.beat(f"saving step {self._step}")

    def _own_writes(self) -> Writes:
        """For the next boundary: how far this rank is."""
        write = self._write
        # In this order: what a write failed of is known before it is over.
        if write is not None and write.is_over:
            self._writes.over = write.number
        if write is not None and write.error is not None:
            self._writes.failed = write.number
        return self._writes

    def _conclude(self, state: State, *, failed: bool) -> None:
        """All ranks are done with a write."""
        write, self._write = self._write, None
        assert write is not None
        assert write.ended_at is not None
        seconds = write.ended_at - self._started
        if failed:
            self._give_up(write, seconds)
            return
        self.failures, self._must_succeed = 0, False
        checkpoint = Checkpoint(write.commit.final)
        state.checkpoints.append(checkpoint)
        size = checkpoint.num_bytes
        # The first one lacks what the optimizer has not made yet.
        self.commit_seconds = seconds * max(1.0, self._full_bytes / max(1, size))
        self._event("committed", checkpoint.path.name, seconds=seconds, bytes=size)
        self._schedule()
        self.run.hooks.notify("on_checkpoint_committed", state=state, checkpoint=checkpoint)
        self.result = choose_result(state)
        if self.run.is_main:
            elapsed = time.monotonic() - self._attempt_started
            self._facts |= {COMMIT_SECONDS: self.commit_seconds, ATTEMPT_SECONDS: elapsed}
            result = str(self.result.path.relative_to(self.run.directory.path))
            self._record(step=state.step, facts=self._facts, result=result)
        retain(state, self.result)

    def _give_up(self, write: Write, seconds: float) -> None:
        """Drop a save that failed. Raises `StorageError` where it may not fail, or not once more."""
        self.failures += 1
        if self.run.is_main:
            try:
                write.commit.abandon()
            except OSError as error:
                self._alert(f"{write.commit.directory.name} could not be deleted: {error}")
        if write.error is not None:
            self._event("failed", write.commit.final.name, message=str(write.error), seconds=seconds)
            if not isinstance(write.error, OSError | StorageError):
                raise write.error
        reason = str(write.error or "another rank could not write its part")
        message = f"the checkpoint of step {self._step} could not be written: {reason}."
        hint = f"Make room or mend the disk that holds {write.commit.final.parent}."
        if self._must_succeed or self.failures >= self.run.recipe.checkpoint.max_failures:
            raise StorageError(message, hint=hint)
        left = self.run.recipe.checkpoint.max_failures - self.failures
        self._alert(f"{message} Training goes on; {left} more in a row end the run. {hint}")
        self._schedule()

    # -- events ---------------------------------------------------------------------------------

    def _event(self, phase: str, name: str, **fields: object) -> None:
        if self.run.is_main or phase == "failed":
            self.run.events.write("checkpoint", phase=phase, name=name, step=self._step, **fields)

    def _note(self, message: str) -> None:
        if self.run.is_main:
            self.run.events.write("note", message=message)

    def _alert(self, message: str) -> None:
        if self.run.is_main:
            self.run.events.write("alert", message=message)

    def _record(self, **changes: object) -> None:
        """On a full disk the record stays as it is; that the checkpoint failed is said elsewhere."""
        try:
            self.run.directory.update_record(**changes)
        except StorageError as error:
            self._alert(error.message)


def _with_base(manifest: Manifest, base: BaseDigest | None) -> Manifest:
    """Completed with what may have taken longer than the copy of the state."""
    return manifest if base is None else replace(manifest, base=base.value())


def make_manifest(state: State) -> Manifest:
    """Everything about the state that is not a tensor. On rank 0 only."""
    run = state.run
    return Manifest(
        step=state.step,
        optimizer_steps=state.step - state.skipped_before - int(state.engine.skipped()),
        rows_consumed=state.rows_passed,
        tokens=state.tokens,
        supervised_tokens=state.supervised_tokens,
        best_eval_loss=state.best_eval_loss,
        best_step=state.best_step,
        evaluated_step=state.evaluated_step,
        metrics={name: value for name, value in state.metrics.items() if math.isfinite(value)},
        recipe_fingerprint=run.recipe.fingerprint(),
        data=run.data_digests,
        micro_batch_size=run.micro_batch_size,
        world_size=run.world_size,
        plugins=run.hooks.save_state(),
        engine=state.engine.save_state(),
        engine_class=type(state.engine).__name__,
        run=run.directory.read_record().id,
        versions={"stoker": __version__, "torch": torch.__version__},
    )
