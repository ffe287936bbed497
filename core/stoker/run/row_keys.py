"""Keys that runs are asked for and sorted by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from stoker.run.overview import RunRow

Getter = Callable[[RunRow, float], str | float | None]
"""The value of a row at a time in Unix seconds; None where there is none."""

TEXTS: Final[dict[str, Getter]] = {
    "name": lambda row, now: row.name,
    "state": lambda row, now: row.state,
    "model": lambda row, now: row.model,
    "method": lambda row, now: row.method,
    "series": lambda row, now: row.series,
    "host": lambda row, now: row.host,
    "note": lambda row, now: row.note,
}
_NUMBERS: Final[dict[str, Getter]] = {
    "step": lambda row, now: row.step,
    "steps": lambda row, now: row.total_steps or None,
    "loss": lambda row, now: row.loss,
    "eval": lambda row, now: row.eval_loss,
    "tokens": lambda row, now: row.tokens_per_second,
    "usd": lambda row, now: row.usd,
    "projected": lambda row, now: row.projected_usd,
    "rate": lambda row, now: row.usd_per_hour,
    "ranks": lambda row, now: row.ranks,
    "attempt": lambda row, now: row.attempt,
}
TIMES: Final[dict[str, Getter]] = {
    "eta": lambda row, now: row.eta_seconds,
    "age": lambda row, now: now - row.created if row.created else None,
    "time": lambda row, now: row.seconds(now),
}
GETTERS: Final[dict[str, Getter]] = {**TEXTS, **_NUMBERS, **TIMES}
KEYS: Final = tuple(GETTERS)
"""`tokens` are tokens/s, `steps` all steps, `eval` the latest evaluation loss, `time` the attempt's."""


def sort_rows(rows: Iterable[RunRow], key: str, *, descending: bool, now: float) -> list[RunRow]:
    """Rows in the order of a key, those without a value last; equals by age, the youngest first."""
    getter = GETTERS[key]
    known: list[tuple[str | float, RunRow]] = []
    unknown: list[RunRow] = []
    for row in sorted(rows, key=lambda row: (-row.created, row.name)):
        value = getter(row, now)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            unknown.append(row)
        else:
            known.append((value.casefold() if isinstance(value, str) else value, row))
    known.sort(key=lambda pair: pair[0], reverse=descending)
    return [row for _, row in known] + unknown
