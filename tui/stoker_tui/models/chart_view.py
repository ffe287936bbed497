"""What a chart shows, as a value: compared, kept, and drawn by `chart_picture.draw`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoker_tui.models.series import Series

MarkKind = Literal["checkpoint", "resume", "preemption", "evaluate", "alert"]

NUM_LOOKS = 6
"""Colours and line patterns there are."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    label: str
    series: Series
    look: int | None = None
    """Which of the looks (a colour with a line pattern) it has, from 0; by its place where None."""


@dataclass(frozen=True)
class Mark:
    """Something that happened at one x."""

    x: float
    kind: MarkKind
    label: str = ""
    """A word or two, shown where there is room."""


@dataclass(frozen=True)
class ChartView:
    """One chart."""

    title: str
    curves: tuple[Curve, ...] = ()
    marks: tuple[Mark, ...] = ()
    x_label: str = "step"
    """"time" (seconds) and "tokens" have numbers of their own kind; any other is a count."""
    log: bool = False
    """Logarithmic y; what is not above 0 lies on the ground."""
    smoothing: float = 0.0
    """Weight of what came before in an exponential mean, from 0 (none) to below 1.

    It is for a 250th of the width, so what it does depends on neither zoom nor size.
    """
    x_range: tuple[float, float] | None = None
    """The part that is shown; all of it where None."""
    latest: str = ""
    """The newest value, with its unit, for the title."""

    @property
    def heading(self) -> str:
        """Title and latest value."""
        return f"{self.title} {self.latest}".strip()

    def look(self, index: int) -> int:
        """The look of a curve."""
        chosen = self.curves[index].look
        return (index if chosen is None else chosen) % NUM_LOOKS
