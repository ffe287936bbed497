"""States of runs as people read them: sign, word and tone, so that colour is never all there is."""

from __future__ import annotations

from typing import Final

from stoker.run.record import State
from stoker_tui.models.glossary import sign_of
from stoker_tui.models.styled import Piece, Tone

_TONES: Final[dict[State, Tone]] = {
    "preparing": "accent",
    "running": "good",
    "saving": "good",
    "done": "good",
    "failed": "bad",
    "preempted": "warning",
    "stopped": "warning",
    "lost": "bad",
}


def state_piece(state: State) -> Piece:
    """`● run`."""
    return Piece(sign_of(state), _TONES[state])
