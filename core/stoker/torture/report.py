"""What a mode of torture found: numbers that must be 0, and numbers to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_COLUMNS = (
    *("mode", "engine", "ranks", "faults", "resumes"),
    *("bad picks", "lost steps", "by hand", "equal", "seconds"),
)


@dataclass
class Report:
    """One row of the table."""

    mode: str
    engine: str
    ranks: int
    faults: int = 0
    """Kills, signals, full disks, damages ... that were tried."""
    resumes: int = 0
    bad_picks: int = 0
    """Resumes from anything but the newest durable checkpoint, and damages that were not found."""
    lost_steps: int = 0
    """The most steps that had to be trained again after one fault."""
    by_hand: int = 0
    """Attempts that did not begin or end as they should without someone's help."""
    unequal: int = 0
    """Runs whose losses, weights or optimizer states differ in a bit from an uninterrupted one's."""
    runs: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    """What went wrong, in words."""
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.problems or self.bad_picks or self.by_hand or self.unequal)

    def blame(self, problem: str) -> None:
        """Note something that went wrong."""
        self.problems.append(problem)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "ok": self.ok}


def table(reports: Sequence[Report]) -> str:
    """Aligned columns, then what went wrong."""
    rows = [_COLUMNS]
    rows += [
        (
            report.mode,
            report.engine,
            str(report.ranks),
            str(report.faults),
            str(report.resumes),
            str(report.bad_picks),
            str(report.lost_steps),
            str(report.by_hand),
            f"{report.runs - report.unequal}/{report.runs}" if report.runs else "-",
            f"{report.seconds:.0f}",
        )
        for report in reports
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{report.mode} {report.engine}: {report.remark}" for report in reports if report.remark]
    lines += [f"FAILED {r.mode} {r.engine}: {problem}" for r in reports for problem in r.problems]
    return "\n".join(lines)
