"""Which checkpoints stay: the newest few, the best, and what would be the run's result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.checkpoint.commit import remove

if TYPE_CHECKING:
    from stoker.checkpoint.finding import Checkpoint
    from stoker.train.state import State


def choose_result(state: State) -> Checkpoint:
    """The checkpoint that is the run's result: the newest, unless a plugin says otherwise."""
    checkpoint: Checkpoint = state.run.hooks.own(
        "make_result", lambda: state.checkpoints[-1], state=state
    )
    return checkpoint


def retain(state: State, result: Checkpoint) -> None:
    """Forget what need not be kept, and delete it on rank 0. To be called after a commit only."""
    newest = state.checkpoints[-state.run.recipe.checkpoint.keep :]
    kept = {checkpoint.step for checkpoint in (*newest, result)}
    if state.best_eval_loss is not None:
        kept.add(state.best_step)
    for checkpoint in [c for c in state.checkpoints if c.step not in kept]:
        state.checkpoints.remove(checkpoint)
        if state.run.is_main:
            _delete(state, checkpoint)


def _delete(state: State, checkpoint: Checkpoint) -> None:
    """A new checkpoint is durable, so an old one that resists is no reason to stop."""
    try:
        remove(checkpoint.path)
    except OSError as error:
        message = f"the old checkpoint {checkpoint.path.name} could not be deleted: {error}"
        state.run.events.write("alert", message=message)
