"""What the Watch screen shows of a run: head, charts, tables."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal, Vertical
from textual.widget import Widget

from stoker_tui.models.styled import Line, flow
from stoker_tui.models.watch_charts import CHARTS, GRID, ChartOptions, RunCharts
from stoker_tui.models.watch_cost import cost_lines
from stoker_tui.models.watch_happenings import happening_line, happening_lines
from stoker_tui.models.watch_head import head_groups
from stoker_tui.models.watch_layout import TABLES, Layout
from stoker_tui.models.watch_notes import note_lines
from stoker_tui.models.watch_plan import plan_lines
from stoker_tui.models.watch_ranks import host_lines, rank_lines, rank_rows, wait_lines
from stoker_tui.widgets.chart import Chart
from stoker_tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from stoker_tui.models.feed import RunFeed

_TITLES: Final = {
    "wait": "wait, share of the step",
    "ranks": "ranks",
    "happenings": "events",
    "plan": "plan and actual",
    "cost": "cost",
}
_PAINT_SECONDS = 0.05
_HEAD_LINES = 2


class WatchBody(Vertical):
    """All panes; which of them are seen is the layout's choice."""

    def __init__(self) -> None:
        super().__init__(id="body")
        self.layout_now = Layout()
        self.chart_words = ""
        """What titles of charts must have to be shown."""
        self.event_words = ""
        """What events must have to be shown."""
        self.texts = {name: _text_pane(name) for name in ("head", "notes", "wait", *TABLES, "last")}
        self.charts = {key: Chart(id=key, classes="chart") for key in CHARTS}
        self.panes: dict[str, Widget] = {**self.charts, **{n: self.texts[n] for n in ("wait", *TABLES)}}
        """By their names in the layout."""
        self._grid, self._lower = Grid(id="charts"), Horizontal(id="lower")
        self._side, self._sums = Vertical(id="side"), Horizontal(id="sums")

    def compose(self) -> ComposeResult:
        """Head and notes, charts, four tables, the last happening."""
        yield self.texts["head"]
        yield self.texts["notes"]
        with self._grid:
            yield from (self.panes[name] for name in GRID)
        with self._lower:
            yield self.panes["ranks"]
            with self._side:
                yield self.panes["happenings"]
                with self._sums:
                    yield self.panes["plan"]
                    yield self.panes["cost"]
        yield self.texts["last"]

    def arrange_panes(self, layout: Layout) -> None:
        """Show the panes that the layout names, and their containers."""
        self.layout_now = layout
        self._add_charts(name for name in layout.charts if name not in self.panes)
        shown = layout.shown
        for name, pane in self.panes.items():
            pane.display = name in shown
        in_grid = shown - {*TABLES}
        self._grid.display = bool(in_grid)
        self._grid.set_class(len(in_grid) == 1, "-single")
        self._grid.set_class(len(in_grid) in (2, 3), "-row")
        self._lower.display = bool(shown & {*TABLES})
        self._side.display = bool(shown & {"happenings", "plan", "cost"})
        self._sums.display = bool(shown & {"plan", "cost"})
        self.texts["last"].display = layout.has_last

    def name_of(self, widget: Widget | None) -> str | None:
        """What the layout calls a pane; None for anything else."""
        return next((name for name, pane in self.panes.items() if pane is widget), None)

    def _add_charts(self, names: Iterable[str]) -> None:
        for name in names:
            # Not every name of a column could be a widget's.
            self.charts[name] = self.panes[name] = Chart(classes="chart")
            self._grid.mount(self.charts[name])

    def paint(self, feed: RunFeed, charts: RunCharts, options: ChartOptions, revision: int) -> bool:
        """Bring what is shown up to date; `revision` grows when charts have changed.

        False where some charts are left for another call: the first look at a long run takes long.
        """
        self._paint_top(feed)
        self._paint_tables(feed)
        if self.layout_now.has_last:
            last = feed.happenings[-1:]
            self.texts["last"].show("", [happening_line(each) for each in last])
        deadline = time.monotonic() + _PAINT_SECONDS
        for key in self.layout_now.shown & {*self.charts}:
            if time.monotonic() > deadline:
                return False
            view = charts.view(key, options)
            if key == self.layout_now.chart:
                view = replace(view, title=f"{self._place} {view.title}".strip())
            self.charts[key].show(view, revision)
        return True

    @property
    def _place(self) -> str:
        """Which of how many charts is in front, and what left out the others."""
        words = f"/{self.chart_words}" if self.chart_words else ""
        return f"{self.layout_now.place} {words}".strip()

    def _paint_top(self, feed: RunFeed) -> None:
        cells = self.layout_now.cells
        self._show_lines("head", flow(head_groups(feed), cells)[:_HEAD_LINES])
        self._show_lines("notes", note_lines(feed, cells))

    def _show_lines(self, name: str, lines: Sequence[Line]) -> None:
        """Lines in a pane that is as high as they are many."""
        pane = self.texts[name]
        if pane.display != bool(lines):
            pane.display = bool(lines)
        if lines and len(lines) != len(pane.lines):
            pane.styles.height = len(lines)
        pane.show("", lines)

    def _paint_tables(self, feed: RunFeed) -> None:
        shown = self.layout_now.shown
        if shown & {"ranks", "wait"}:
            rows = rank_rows(feed)
            table = rank_lines(rows, self.texts["ranks"].cells)
            self._show_pane("ranks", [*table, *host_lines(feed.hosts)])
            self._show_pane("wait", wait_lines(rows, self.texts["wait"].cells))
        if "happenings" in shown:
            self._show_pane("happenings", happening_lines(feed.happenings, self.event_words))
        if "plan" in shown:
            self._show_pane("plan", plan_lines(feed, self.texts["plan"].cells))
        if "cost" in shown:
            self._show_pane("cost", cost_lines(feed.cost, is_over=feed.state == "done"))

    def _show_pane(self, name: str, lines: Sequence[Line]) -> None:
        self.texts[name].show(self._title(name), lines)

    def _title(self, name: str) -> str:
        """Its name; among the names of the other tables where only one has room."""
        layout = self.layout_now
        words = f" /{self.event_words}" if name == "happenings" and self.event_words else ""
        if name not in TABLES or not layout.is_compact or layout.zoomed is not None:
            return _TITLES[name] + words
        names = (f"[{_TITLES[each]}{words}]" if each == name else _TITLES[each] for each in TABLES)
        return f"{'  '.join(names)}  tab"


def _text_pane(name: str) -> TextPane:
    """Lines above and below the panes are no stops for tab."""
    pane = TextPane(id=name, classes="table" if name in TABLES else None)
    pane.can_focus = name in (*GRID, *TABLES)
    return pane
