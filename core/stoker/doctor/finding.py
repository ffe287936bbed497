"""A finding: one thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warning", "missing", "error"]

_GIB = 2**30
_MIB = 2**20


@dataclass(frozen=True)
class Finding:
    """`missing` is what one may do without; `error` is what is there and broken."""

    group: str
    name: str
    status: Status
    found: str
    hint: str = ""
    """What to do, a command where there is one; empty where there is nothing to do."""

    def as_dict(self) -> dict[str, str]:
        """As `stoker doctor --json` shows it."""
        return asdict(self)


def has_error(findings: Iterable[Finding]) -> bool:
    """Whether something is broken."""
    return any(finding.status == "error" for finding in findings)


def size_text(size_bytes: float) -> str:
    """A size for people: `64 MiB`, `23.5 GiB`."""
    if size_bytes < _GIB:
        return f"{size_bytes / _MIB:.0f} MiB"
    return f"{size_bytes / _GIB:.1f} GiB"
