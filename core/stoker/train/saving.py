"""Saves checkpoints from the engine's pieces and decides which to keep."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch

from stoker.checkpoint.commit import Commit, remove, remove_leftovers
from stoker.checkpoint.manifest import Manifest
from stoker.checkpoint.reading import Checkpoint
from stoker.checkpoint.tensors import write_pieces
from stoker.errors import StokerError, StorageError
from stoker.train.progress import Progress
from stoker.version import __version__

if TYPE_CHECKING:
    from stoker.train.boundary import Boundary
    from stoker.train.state import State


class Saver:
    """Writes checkpoints. All ranks write their own pieces; rank 0 commits."""

    def __init__(self, boundary: Boundary) -> None:
        self.boundary = boundary
        if boundary.run.is_main:
            remove_leftovers(boundary.run.directory.checkpoints_path)
        self.result: Checkpoint | None = None
        """What would be the run's result if it ended now; kept whatever else is deleted."""

    def save(self, state: State) -> Checkpoint:
        """Commit a checkpoint of the step just done, tell the hooks, delete what need not be kept.

        Raises `StorageError` on every rank when any of them could not write; nothing is left then.
        """
        if state.checkpoints and state.checkpoints[-1].step == state.step:
            self.result = choose_result(state)
            return state.checkpoints[-1]
        run, started = state.run, time.monotonic()
        name = f"step-{state.step:08d}"
        self._event(state, "started", name)
        if run.is_main:
            run.directory.update_record(state="saving")
        commit = Commit(run.directory.checkpoints_path, name)
        self._together(state, commit, lambda: commit.begin() if run.is_main else None)
        self._together(state, commit, lambda: self._write(state, commit))
        self._together(state, commit, lambda: commit.seal(make_manifest(state)) if run.is_main else None)
        checkpoint = Checkpoint(commit.final)
        state.checkpoints.append(checkpoint)
        self.boundary.saved()
        seconds = time.monotonic() - started
        self._event(state, "committed", name, seconds=seconds, bytes=checkpoint.num_bytes)
        if run.is_main:
            run.directory.update_record(state="running", step=state.step)
        run.hooks.notify("on_checkpoint_committed", state=state, checkpoint=checkpoint)
        self._retain(state)
        return checkpoint

    def _write(self, state: State, commit: Commit) -> None:
        progress = Progress(state.run, "saving", 0, "MB")

        def report(done: int, total: int) -> None:
            progress.total = total // 10**6
            progress.update(done // 10**6)

        write_pieces(commit.directory, state.run.rank, state.engine.tensors(), report)

    def _together(self, state: State, commit: Commit, action: object) -> None:
        """Run one phase on every rank; if it fails on any of them, it fails on all."""
        assert callable(action)
        problem: Exception | None = None
        try:
            action()
        except Exception as error:
            problem = error
        if self.boundary.all_fine(problem is None):
            return
        if state.run.is_main:
            commit.abandon()
        reason = str(problem or "another rank could not write its part")
        self._event(state, "failed", commit.final.name, message=reason)
        if problem is not None and not isinstance(problem, OSError):
            raise problem
        raise StorageError(
            f"the checkpoint of step {state.step} could not be written: {reason}.",
            hint=f"Make room or mend the disk that holds {commit.final.parent}.",
        ) from problem

    def _event(self, state: State, phase: str, name: str, **fields: object) -> None:
        if state.run.is_main:
            state.run.events.write("checkpoint", phase=phase, name=name, step=state.step, **fields)

    def _retain(self, state: State) -> None:
        """Keep the newest few, the best, and what would be the run's result."""
        self.result = choose_result(state)
        newest = state.checkpoints[-state.run.recipe.checkpoint.keep :]
        kept = {checkpoint.step for checkpoint in (*newest, self.result)}
        kept.add(state.best_step)
        for checkpoint in [c for c in state.checkpoints if c.step not in kept]:
            state.checkpoints.remove(checkpoint)
            if state.run.is_main:
                self._delete(state, checkpoint)

    def _delete(self, state: State, checkpoint: Checkpoint) -> None:
        """A new checkpoint is durable, so an old one that resists is no reason to stop."""
        try:
            remove(checkpoint.path)
        except OSError as error:
            message = f"the old checkpoint {checkpoint.path.name} could not be deleted: {error}"
            state.run.events.write("alert", message=message)


def choose_result(state: State) -> Checkpoint:
    """The checkpoint that is the run's result: the newest, unless a plugin says otherwise."""
    checkpoint: Checkpoint = state.run.hooks.own(
        "make_result", lambda: state.checkpoints[-1], state=state
    )
    return checkpoint


def make_manifest(state: State) -> Manifest:
    """Everything about the state that is not a tensor. On rank 0 only."""
    run = state.run
    if bool(state.engine.failed()):
        raise StokerError("refusing to save after non-finite gradients.")
    return Manifest(
        step=state.step,
        optimizer_steps=state.step - state.skipped_before - int(state.engine.skipped()),
        rows_consumed=state.step * run.recipe.train.batch_size,
        tokens=state.tokens,
        supervised_tokens=state.supervised_tokens,
        best_eval_loss=state.best_eval_loss,
        best_step=state.best_step,
        evaluated_step=state.evaluated_step,
        metrics={name: value for name, value in state.metrics.items() if math.isfinite(value)},
        recipe_fingerprint=run.recipe.fingerprint(),
        data=run.data_digests,
        micro_batch_size=run.recipe.train.micro_batch_size,
        world_size=run.world_size,
        plugins=run.hooks.save_state(),
        engine=state.engine.save_state(),
        engine_class=type(state.engine).__name__,
        versions={"stoker": __version__, "torch": torch.__version__},
    )
