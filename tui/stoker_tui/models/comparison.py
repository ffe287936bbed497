"""Several runs side by side: how they went, and the settings in which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stoker.run.lines import clean, format_seconds
from stoker.run.overview import RunRow
from stoker_tui.models.amounts import NONE, known
from stoker_tui.models.chart_ticks import figure
from stoker_tui.models.run_cells import loss_cell, money, state_cell, steps

_IGNORED: Final = frozenset({"run.name"})
_ABSENT: Final = NONE


@dataclass(frozen=True)
class Comparison:
    """A line of the table: the same of each run."""

    key: str
    values: tuple[str, ...]
    is_setting: bool = False


def outcomes(rows: Sequence[RunRow], now: float) -> list[Comparison]:
    """How the runs went. `now` is in Unix seconds."""

    def line(key: str, values: Sequence[str]) -> Comparison:
        return Comparison(key, tuple(values))

    return [
        line("state", [state_cell(row).text for row in rows]),
        line("step", [steps(row) for row in rows]),
        line("loss", [loss_cell(row.loss).text for row in rows]),
        line("evaluation loss", [loss_cell(row.eval_loss).text for row in rows]),
        line("tokens/s", [known(row.tokens_per_second, figure) for row in rows]),
        line("spent", [money(row) if row.usd is not None else NONE for row in rows]),
        line("time, last attempt", [known(row.seconds(now), format_seconds) for row in rows]),
        line("ranks", [str(row.ranks) for row in rows]),
        line("attempts", [str(row.attempt) for row in rows]),
    ]


def differences(recipes: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Settings of resolved recipes that are not the same in all of them, by key."""
    flat = [dict(_flat("", recipe)) for recipe in recipes]
    keys = dict.fromkeys(key for each in flat for key in each)
    found = []
    for key in keys:
        values = tuple(each.get(key, _ABSENT) for each in flat)
        if key not in _IGNORED and len(set(values)) > 1:
            found.append(Comparison(key, values, is_setting=True))
    return found


def as_text(names: Sequence[str], lines: Sequence[Comparison]) -> str:
    """A table of tabs, for the clipboard."""
    rows = [("", *names), *((line.key, *line.values) for line in lines)]
    return "\n".join("\t".join(row) for row in rows) + "\n"


def _flat(key: str, value: object) -> list[tuple[str, str]]:
    """Dotted keys of values that are no tables; tables of an array are counted from 0."""
    if isinstance(value, Mapping) and value:
        pairs = ((f"{key}.{name}" if key else str(name), each) for name, each in value.items())
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        pairs = ((f"{key}[{place}]", each) for place, each in enumerate(value))
    else:
        return [(clean(key), _shown(value))]
    return [pair for name, each in pairs for pair in _flat(name, each)]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return clean(value) or '""'
    if value == {}:
        return "on"
    return clean(json.dumps(value, ensure_ascii=False, default=str))
