"""One row of a list of runs: what `stoker runs` and the cockpit say about each. Torch-free.

Made of three parts that a reader may keep for as long as their files do not change: the record, the
recipe's few values that tell runs apart, and where the training is.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stoker.errors import StokerError
from stoker.run.directory import RECORD_NAME, RunDirectory
from stoker.run.latest import Latest, read_latest
from stoker.run.ledger import read_usd
from stoker.run.lines import clean
from stoker.run.record import ACTIVE_STATES, RunRecord, State
from stoker.run.settings import Settings, read_settings

DAMAGED: Final = "damaged"
"""State of a run directory whose run.json is missing or says nothing that can be read."""
_TRACES = ("events.jsonl", "recipe.lock.json", "checkpoints")
"""A directory that holds one of these was a run."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run. Times are Unix seconds; numbers are None where nobody knows them, or it is too early."""

    name: str
    path: Path
    state: str
    """The effective state, `lost` included, or `damaged`."""
    series: str = ""
    model: str = ""
    method: str = ""
    host: str = ""
    ranks: int = 0
    """On all nodes together."""
    attempt: int = 0
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    """Of the latest step; NaN where it was not finite."""
    eval_loss: float | None = None
    tokens_per_second: float | None = None
    usd: float | None = None
    """Spent so far, by all attempts; None where nobody keeps accounts."""
    projected_usd: float | None = None
    usd_per_hour: float | None = None
    eta_seconds: float | None = None
    """Until the last step is done; only of a run at work."""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    record: RunRecord | None = None
    """With the effective state and the step that training is at; None of a damaged run."""
    note: str = ""
    """Why it failed or was left, or what it does before its first step."""

    @property
    def is_active(self) -> bool:
        """Whether somebody works on it."""
        return self.state in ACTIVE_STATES

    def seconds(self, now: float) -> float | None:
        """How long the latest attempt took, or has taken so far; None where its end is not known."""
        if self.started is None or (self.ended is None and not self.is_active):
            return None
        return max(0.0, (now if self.ended is None else self.ended) - self.started)


def list_rows(parent: Path) -> list[RunRow]:
    """Runs in a folder, oldest first, damaged ones at the end; other entries are left out."""
    paths = sorted(parent.iterdir()) if parent.is_dir() else []
    rows = [
        read_row(RunDirectory(path)) for path in paths if not path.name.startswith(".") and is_run(path)
    ]
    return sorted(rows, key=lambda row: (row.state == DAMAGED, row.created, row.name))


def read_row(directory: RunDirectory) -> RunRow:
    """Everything about one run; damaged ones too."""
    try:
        record = directory.read_record()
        state = directory.effective_state(record)
    except StokerError as error:
        return damaged_row(directory.path, str(error))
    settings, latest = read_settings(directory), read_latest(directory.events_path)
    return make_row(directory, record, state, settings, latest, read_usd(directory.ledger_path))


def make_row(
    directory: RunDirectory,
    record: RunRecord,
    state: State,
    settings: Settings,
    latest: Latest,
    usd: float | None,
) -> RunRow:
    """A row of its parts. `usd` is what the ledger says."""
    is_active = state in ACTIVE_STATES
    # A record that has ended knows better than events: the last of them may be an older attempt's.
    step = record.step if record.ended is not None else max(record.step, latest.step or 0)
    total = record.total_steps or latest.total_steps or 0
    return RunRow(
        name=directory.name,
        path=directory.path,
        state=state,
        series=record.series,
        model=settings.model,
        method=settings.method,
        host=record.host,
        ranks=record.nproc * record.nodes,
        attempt=record.attempt,
        step=step,
        total_steps=total,
        loss=latest.loss,
        eval_loss=latest.eval_loss,
        tokens_per_second=latest.tokens_per_second,
        usd=latest.usd if usd is None else usd,
        projected_usd=latest.projected_usd,
        usd_per_hour=latest.usd_per_hour,
        eta_seconds=latest.seconds_left(step, total) if is_active else None,
        created=record.created,
        started=record.started,
        ended=record.ended,
        record=_effective(record, state, step),
        note=_note(record, state, latest),
    )


def _effective(record: RunRecord, state: State, step: int) -> RunRecord:
    is_same = (record.state, record.step) == (state, step)
    return record if is_same else record.changed(state=state, step=step)


def damaged_row(path: Path, problem: str) -> RunRow:
    """The row of a directory that was a run."""
    return RunRow(name=path.name, path=path, state=DAMAGED, note=clean(problem))


def is_run(path: Path) -> bool:
    """Whether this is a run's directory, or what is left of one."""
    return any(os.path.exists(path / name) for name in (RECORD_NAME, *_TRACES))


def _note(record: RunRecord, state: State, latest: Latest) -> str:
    if state == "failed":
        return clean(str((record.error or {}).get("message", "")))
    if state == "preparing":
        return latest.progress
    if state in ACTIVE_STATES or state == "done":
        return ""
    return clean(record.reason or "")


_ADDED = (
    *("model", "method", "ranks", "loss", "eval_loss", "tokens_per_second"),
    *("usd", "projected_usd", "usd_per_hour", "eta_seconds", "note"),
)


def row_dict(row: RunRow) -> dict[str, Any]:
    """What `stoker runs --json` adds to the record. NaN becomes null, named in `non_finite`."""
    values = {key: getattr(row, key) for key in _ADDED}
    odd = [key for key, value in values.items() if isinstance(value, float) and not math.isfinite(value)]
    return {**values, **dict.fromkeys(odd), "non_finite": odd}
