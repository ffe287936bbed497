"""What the table of runs says of one run: short words, each with its tone."""

from __future__ import annotations

import math
from typing import Final, cast

from stoker.run.host import host_name
from stoker.run.lines import format_usd
from stoker.run.overview import DAMAGED, RunRow
from stoker.run.record import RESUMABLE_STATES, State
from stoker_tui.models.amounts import NONE, known
from stoker_tui.models.chart_ticks import duration, figure
from stoker_tui.models.states import state_piece
from stoker_tui.models.styled import Piece, Tone, foreign

_DAMAGED: Final = Piece("✗ damaged", "bad")
KEYS: Final = (
    *("state", "name", "model", "method", "ranks", "step", "loss", "tokens", "usd", "eta", "age"),
    "note",
)
"""Of the columns, in their order; keys of queries."""

_STEP_CELLS = 11


def run_cells(row: RunRow, now: float) -> tuple[Piece, ...]:
    """A cell for each of `KEYS`. `now` is in Unix seconds."""
    if row.state == DAMAGED:
        blanks = [Piece(NONE, "muted")] * (len(KEYS) - 3)
        return (state_cell(row), foreign(row.name), *blanks, foreign(row.note, "bad"))
    return (
        state_cell(row),
        foreign(row.name),
        foreign(row.model or NONE, "muted"),
        Piece(row.method or NONE, "muted"),
        Piece(str(row.ranks)),
        Piece(steps(row)),
        loss_cell(row.loss),
        Piece(known(row.tokens_per_second, lambda value: figure(value, 3))),
        Piece(known(row.usd, format_usd)),
        Piece(eta(row)),
        Piece(age(row, now)),
        foreign(row.note, _note_tone(row)),
    )


def state_cell(row: RunRow) -> Piece:
    """`● run`."""
    return _DAMAGED if row.state == DAMAGED else state_piece(cast("State", row.state))


def loss_cell(loss: float | None) -> Piece:
    """`1.412`; `nan` is bad."""
    if loss is None:
        return Piece(NONE, "muted")
    return (
        Piece("nan", "bad") if math.isnan(loss) else Piece(f"{loss:.3f}" if loss < 100 else figure(loss))
    )


def steps(row: RunRow) -> str:
    """`2040/5974`; `480k/1M` where all digits have no room."""
    if not row.total_steps:
        return str(row.step) if row.step else NONE
    exact = f"{row.step}/{row.total_steps}"
    return exact if len(exact) <= _STEP_CELLS else f"{figure(row.step)}/{figure(row.total_steps)}"


def eta(row: RunRow) -> str:
    """Time that is left; `R` where resume goes on."""
    if row.state in RESUMABLE_STATES:
        return "R"
    return known(row.eta_seconds, rough)


def age(row: RunRow, now: float) -> str:
    """Since it was created."""
    return rough(max(0.0, now - row.created)) if row.created else NONE


def rough(seconds: float) -> str:
    """`45s`, `12m`, `2h05`, `3d`: seconds and hours are left out where they say nothing."""
    if seconds < 60:
        return duration(round(seconds))
    if seconds < 86_400:
        return duration(seconds // 60 * 60)
    return (
        duration(seconds // 86_400 * 86_400) if seconds >= 172_800 else duration(seconds // 3600 * 3600)
    )


def about(row: RunRow) -> Piece:
    """The line under the table: what is odd about the run of the cursor, else where it is."""
    if row.state == DAMAGED:
        return foreign(row.note, "bad")
    if row.state == "failed":
        return foreign(_failure(row), "bad")
    if row.state in RESUMABLE_STATES:
        why = row.note or ("its processes are gone" if row.state == "lost" else "it was stopped")
        return foreign(f"{why}: R goes on from step {row.step}.", "warning")
    words = ["1 rank" if row.ranks == 1 else f"{row.ranks} ranks"]
    words[0] += f" on {row.host}" if row.host != host_name() else ""
    words = [each for each in (row.model, row.method) if each] + words
    words += [f"attempt {row.attempt}"] if row.attempt > 1 else []
    words += [f"eval loss {row.eval_loss:.3f}"] if row.eval_loss is not None else []
    words += [money(row)] if row.usd is not None else []
    words += [row.note] if row.note else []
    return foreign(", ".join(words), "muted")


def _failure(row: RunRow) -> str:
    error = row.record.error if row.record is not None else None
    hint = error.get("hint") if isinstance(error, dict) else None
    return f"{(row.note or 'it failed, and does not say why').rstrip('.')}. {hint or ''}"


def money(row: RunRow) -> str:
    """`$12.30 of about $40.00 at $31.92/h`."""
    words = format_usd(row.usd or 0.0)
    if row.is_active and row.projected_usd is not None:
        words += f" of about {format_usd(row.projected_usd)}"
    return words if row.usd_per_hour is None else f"{words} at {format_usd(row.usd_per_hour)}/h"


def _note_tone(row: RunRow) -> Tone:
    return "bad" if row.state == "failed" else "muted"
