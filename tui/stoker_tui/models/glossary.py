"""Signs and words of the screens, explained."""

from __future__ import annotations

from typing import Final

from stoker.run.record import State

SIGNS: Final = (
    ("●", "run", "training, or saving"),
    ("◐", "prep", "getting ready: data, model, processes"),
    ("✓", "done", "all steps are done"),
    ("✗", "fail", "ended by an error"),
    ("⚠", "preempt", "the machine was taken away; it was saved, and goes on with resume"),
    ("■", "stop", "somebody stopped it; it was saved, and goes on with resume"),
    ("?", "lost", "its processes are gone without a word; resume goes on from the latest save"),
)
"""Sign, the word beside it, what it means."""

WORDS: Final = (
    ("rank", "one process of a run; usually one GPU"),
    ("attempt", "one launch or restart of a run; each has its own logs"),
    ("straggler", "the rank the others wait for: it waits least itself"),
    ("MFU", "share of the GPUs' arithmetic that the model's own operations use"),
    ("wait", "seconds of a step in which a rank waited for the others"),
    ("idle", "money for ranks that waited for others"),
    ("GB", "1000 MB, as `stoker` counts everywhere"),
)
"""Word and what it means."""

_WORDS_OF_STATES: Final[dict[State, str]] = {
    "preparing": "prep",
    "running": "run",
    "saving": "run",
    "done": "done",
    "failed": "fail",
    "preempted": "preempt",
    "stopped": "stop",
    "lost": "lost",
}


def sign_of(state: State) -> str:
    """`● run`: a state's sign and word."""
    word = _WORDS_OF_STATES[state]
    return f"{next(sign for sign, each, _ in SIGNS if each == word)} {word}"
