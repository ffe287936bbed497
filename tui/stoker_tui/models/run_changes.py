"""What can be done to a run in which state, and what is asked before."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from stoker.run.record import ACTIVE_STATES, RESUMABLE_STATES, RunRecord, State
from stoker_tui.models.actions import Change

_NEEDS: Final[dict[str, AbstractSet[str]]] = {
    "checkpoint": frozenset({"running", "saving"}),
    "stop": ACTIVE_STATES,
    "resume": RESUMABLE_STATES | {"failed"},
}


def possible(action: str, state: State | None) -> bool:
    """Whether an action makes sense for a run in this state."""
    return action not in _NEEDS or state in _NEEDS[action]


def odd_step(record: RunRecord | None) -> int | None:
    """The step whose loss or gradient was not finite, where that ended the run."""
    if record is None or record.state != "failed":
        return None
    step = (record.error or {}).get("step")
    return step if isinstance(step, int) else None


def resume_options(record: RunRecord | None) -> tuple[str, ...]:
    """What `stoker resume` is told to get past a batch that was not finite."""
    return () if odd_step(record) is None else ("--skip-batches", "1")


def question_about(change: Change, record: RunRecord) -> tuple[str, ...]:
    """What to ask before it is done, and what it means; nothing where it needs no question."""
    if change == "checkpoint":
        return ()
    if change == "stop":
        return f"Stop {record.name}?", "It saves a checkpoint, then leaves; R goes on from there."
    odd = odd_step(record)
    batch = () if odd is None else (f"Step {odd} was not finite: its batch is left out.",)
    begin = f"It goes on from step {record.step}." if record.step else "It begins again."
    return f"Resume {record.name}?", begin, *batch
