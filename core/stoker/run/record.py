"""`run.json`: what is known about a run as a whole. Part of the public API; readable without torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from types import NoneType
from typing import Any, Final, Literal, get_args

State = Literal["preparing", "running", "saving", "done", "failed", "stopped", "preempted", "lost"]

ACTIVE_STATES: Final = frozenset({"preparing", "running", "saving"})
"""A supervisor is, or was when it died, at work."""
RESUMABLE_STATES: Final = frozenset({"stopped", "preempted", "lost"})
"""`stoker run` goes on with such a run."""

OBSERVED_SECONDS = "observed_seconds"
ATTEMPT_SECONDS = "attempt_seconds"
INTERRUPTIONS = "interruptions"
PEACEFUL_ENDS = "peaceful_ends"
"""Keys of `facts`: seconds of earlier attempts and of this one, up to its latest checkpoint; attempts
that were interrupted, and such that were not."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything `run.json` holds. Times are Unix seconds."""

    name: str
    """Name of the run and of its directory."""
    id: str
    """Unique for ever, also where names are used again."""
    v: int = 1
    series: str = ""
    """`run.name` of the recipe: `name-2` belongs to the series `name`."""
    state: State = "preparing"
    recipe_hash: str = ""
    host: str = ""
    pid: int = 0
    """The supervisor's; before it starts, the launching command's."""
    boot_id: str = ""
    attempt: int = 0
    """Counts launches and restarts; 0 before the first."""
    exit_code: int | None = None
    """Of the latest attempt; None while it runs."""
    error: dict[str, Any] | None = None
    """Of the first failing rank: rank, exit_code, message, hint, log, tail, step."""
    reason: str | None = None
    """Why the latest attempt was left before the run's end, in words."""
    step: int = 0
    total_steps: int = 0
    nproc: int = 1
    """Ranks on each node."""
    nodes: int = 1
    created: float = 0.0
    started: float | None = None
    """When the latest attempt began."""
    ended: float | None = None
    """When the latest attempt ended."""
    result: str | None = None
    """The checkpoint that holds the result, relative to the run directory."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Whatever else is worth knowing; keys are added freely."""

    def to_json(self) -> str:
        """Text of `run.json`."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def changed(self, **changes: Any) -> RunRecord:
        """A copy with other values."""
        return replace(self, **changes)


def parse_record(text: str) -> RunRecord:
    """Read the text of `run.json`; keys of a later version are left out.

    Raises `ValueError` or `TypeError` for anything that is not a record.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise TypeError("not a JSON object")
    record = RunRecord(**{key: value for key, value in values.items() if key in _KNOWN})
    odd = [key for key, kind in _TYPES.items() if not isinstance(getattr(record, key), kind)]
    if odd:
        raise TypeError(f"{odd[0]} is of another type")
    if record.state not in get_args(State):
        raise ValueError(f"the state {record.state!r} is not known")
    return record


_KNOWN: Final = frozenset(entry.name for entry in fields(RunRecord))
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("name", "id", "series", "state", "host"), str),
    **dict.fromkeys(("step", "total_steps", "attempt", "nproc", "nodes", "pid"), int),
    **dict.fromkeys(("started", "ended"), (int, float, NoneType)),
    "created": (int, float),
    "error": (dict, NoneType),
    "reason": (str, NoneType),
}
