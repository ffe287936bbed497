"""Which panes of the Watch screen are shown, by the room there is and what the keys have chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stoker_tui.models.watch_charts import GRID

TABLES: Final = ("ranks", "happenings", "plan", "cost")

_COMPACT_CELLS, _COMPACT_LINES = 100, 36
_SHORT_LINES = 20


@dataclass(frozen=True)
class Layout:
    """Room and choices."""

    cells: int = 120
    lines: int = 40
    charts: tuple[str, ...] = GRID
    """All there are; as many as `GRID` has are seen at a time."""
    chart: str = GRID[0]
    """The chart that is in front where there is room for one."""
    table: str = TABLES[0]
    """The table that is in front where there is room for one."""
    zoomed: str | None = None
    """The pane that has all the room."""

    @property
    def is_compact(self) -> bool:
        """Room for one chart and one table."""
        return self.cells < _COMPACT_CELLS or self.lines < _COMPACT_LINES

    @property
    def has_last(self) -> bool:
        """Whether the last happening has a line of its own."""
        return self.is_compact and self.lines >= _SHORT_LINES and self.zoomed is None

    @property
    def shown(self) -> frozenset[str]:
        """Names of charts and tables."""
        if self.zoomed is not None:
            return frozenset({self.zoomed})
        if self.lines < _SHORT_LINES:
            return frozenset({self.chart})
        if self.is_compact:
            return frozenset({self.chart, self.table})
        return frozenset((*self.page, *TABLES))

    @property
    def page(self) -> tuple[str, ...]:
        """The charts that stand beside the one in front."""
        start = self.charts.index(self.chart) // len(GRID) * len(GRID)
        return self.charts[start : start + len(GRID)]

    @property
    def place(self) -> str:
        """`2/9`: which chart is in front; empty where all are seen."""
        if self.shown.issuperset(self.charts):
            return ""
        return f"{self.charts.index(self.chart) + 1}/{len(self.charts)}"

    def with_charts(self, charts: tuple[str, ...]) -> Layout:
        """With other charts, those of another run."""
        gone = {self.chart, self.zoomed} - {*charts, *TABLES, None}
        if not gone:
            return replace(self, charts=charts)
        return replace(self, charts=charts, chart=charts[0], zoomed=None)

    def in_front(self, pane: str) -> Layout:
        """With a pane chosen, and zoomed if another one was."""
        zoomed = None if self.zoomed is None else pane
        if pane in self.charts:
            return replace(self, chart=pane, zoomed=zoomed)
        return replace(self, table=pane, zoomed=zoomed)

    def next_chart(self, step: int) -> Layout:
        """With the next chart in front, or with -1 the one before."""
        place = self.charts.index(self.chart) + step
        return self.in_front(self.charts[place % len(self.charts)])

    def next_pane(self, current: str | None, step: int) -> str:
        """The pane after the current one; where there is room for one chart, charts count as one."""
        stops = (self.chart, *TABLES) if self.is_compact else (*self.page, *TABLES)
        if current not in stops:
            return stops[0]
        return stops[(stops.index(current) + step) % len(stops)]
