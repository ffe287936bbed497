"""What happened in a run, as a person reads it, and as marks on charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from stoker.run.events import SUPERVISOR_RANK, Event
from stoker.run.lines import clean, describe, format_seconds
from stoker.run.numbers import number, whole

Level = Literal["info", "good", "warning", "error"]
MarkKind = Literal["checkpoint", "resume", "preemption", "evaluate", "alert"]

_MOST_CHARACTERS: Final = 2_000
_ENDS: Final[dict[str, Level]] = {
    "done": "good",
    "stopped": "warning",
    "preempted": "warning",
    "failed": "error",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the list of events."""

    t: float
    """Unix seconds, by the clock of whoever wrote it."""
    attempt: int
    rank: int
    """-1: the supervisor."""
    kind: str
    level: Level
    text: str
    """One line without control characters."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where on the axes of charts something happened."""

    kind: MarkKind
    step: int
    tokens: float
    """Since the run began."""
    t: float
    """Unix seconds."""
    text: str


def happening_of(event: Event) -> Happening | None:
    """The line for an event other than `step`, `progress` and `cost`; None where nobody needs one."""
    text = words_of(event)
    if not text:
        return None
    return Happening(
        t=number(event.get("t"), 0.0),
        attempt=whole(event.get("attempt")),
        rank=whole(event.get("rank"), SUPERVISOR_RANK),
        kind=event["kind"],
        level=_level_of(event),
        text=text,
    )


def words_of(event: Event) -> str:
    """What to say about an event, in one line; empty for nothing."""
    try:
        text = _end(event) or _leaving(event) or describe(event)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        # A value of another type than its kind has.
        text = f"{event['kind']}: damaged"
    return clean(" ".join(str(text)[:_MOST_CHARACTERS].split())) if text else ""


def mark_kind_of(event: Event) -> MarkKind | None:
    """The mark that an event leaves on charts."""
    kind, phase = event["kind"], event.get("phase")
    if kind == "checkpoint" and phase == "committed":
        return "checkpoint"
    if kind == "preemption" and phase not in ("saved", "left") and event.get("leave", True):
        return "preemption"
    if kind == "resume":
        return "resume"
    if kind == "evaluate":
        return "evaluate"
    if kind == "alert":
        return "alert"
    return None


def _level_of(event: Event) -> Level:
    kind, phase = event["kind"], event.get("phase")
    if kind == "state":
        return _ENDS.get(str(event.get("state")), "info")
    if kind == "alert" or phase == "failed":
        return "error" if phase == "failed" or event.get("exit_code") else "warning"
    if kind in ("preemption", "resume"):
        return "warning"
    if kind == "checkpoint":
        return "good"
    if kind == "evaluate" and event.get("best_step") == event.get("step"):
        return "good"
    return "info"


def _end(event: Event) -> str | None:
    """How an attempt ended."""
    state = event.get("state")
    if event["kind"] != "state" or state not in _ENDS:
        return None
    error: Any = event.get("error")
    why = error.get("message") if isinstance(error, dict) else None
    rank = error.get("rank") if why else None
    return f"{state}{'' if rank is None else f' on rank {rank}'}: {why}" if why else str(state)


def _leaving(event: Event) -> str | None:
    """How a machine was left that was about to be taken away."""
    if event["kind"] != "preemption" or event.get("phase") not in ("saved", "left"):
        return None
    took = format_seconds(number(event.get("seconds"), 0.0))
    step = event.get("step")
    if event["phase"] == "saved":
        return f"preemption: saved at step {step}, left after {took}"
    kept = "nothing is saved" if step is None else f"step {step} is kept"
    return f"preemption: left after {took} without a new checkpoint, {kept}"
