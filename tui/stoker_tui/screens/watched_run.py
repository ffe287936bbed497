"""A screen that follows the files of one run, and paints what has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.events import DescendantFocus, Resize
from textual.widgets import Static
from textual.worker import get_current_worker

from stoker_tui.models.feed import RunFeed
from stoker_tui.models.newest_run import newest_run
from stoker_tui.models.watch_charts import GRID, ChartOptions, RunCharts, chart_names
from stoker_tui.models.watch_layout import Layout
from stoker_tui.models.x_range import XRange
from stoker_tui.screens.base import CockpitScreen
from stoker_tui.widgets.chart import Chart
from stoker_tui.widgets.watch_body import WatchBody

if TYPE_CHECKING:
    from stoker.run.record import State

_READ_SECONDS = 0.015
"""Of a beat, for new lines of files."""
_CATCH_UP_SECONDS = 0.03
"""Until the next look where more lines are waiting than one beat takes."""
_LOAD_SECONDS = 0.25
"""The same while a thread reads a large file."""
EMPTY = (
    "No run yet.\n\n"
    "2 composes a recipe and L starts it; or from a shell: stoker run RECIPE\n"
    "1 lists the runs of this folder."
)


class WatchedRun(CockpitScreen):
    """Shows `session.run`, else the run that was changed last."""

    def __init__(self) -> None:
        super().__init__()
        self.body = WatchBody()
        self._empty = Static(EMPTY, id="empty", markup=False)
        self.feed: RunFeed | None = None
        self.options = ChartOptions()
        """What the keys have chosen."""
        self.charts: RunCharts | None = None
        self._choices = 0
        """Counts what keys have changed about charts."""
        self._drawn: tuple[object, ...] = ()
        self._is_catching_up = False
        self._offered: tuple[State | None, bool] = (None, False)

    def compose_body(self) -> ComposeResult:
        """A run, or a sentence on how to start one."""
        yield self._empty
        yield self.body

    def on_mount(self) -> None:
        """Begin with the first chart."""
        self.arrange_panes(Layout(*self.size))
        self.choose(GRID[0])

    def on_resize(self, event: Resize) -> None:
        """Show as much as there is room for."""
        layout = replace(self.body.layout_now, cells=event.size.width, lines=event.size.height)
        self.arrange_panes(layout)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """What is clicked or tabbed to is what `z` and `[` go by."""
        layout, name = self.body.layout_now, self.body.name_of(event.widget)
        if name in layout.shown and name not in (layout.chart, layout.table):
            self.body.layout_now = layout.in_front(name)
            self._paint()

    def beat(self) -> None:
        """Read what is new, and paint it."""
        self._choose_run()
        if self.feed is None:
            return
        waits = self.feed.read(_READ_SECONDS)
        if self.feed.needs_load:
            self._load(self.feed)
        if waits:
            self._look_again(_LOAD_SECONDS if self.feed.needs_load else _CATCH_UP_SECONDS)
        self._paint()

    def on_chart_cursor_moved(self, event: Chart.CursorMoved) -> None:
        """All charts are read at one x."""
        for chart in self.body.charts.values():
            # The one that was moved may be further by now.
            if chart is not event.chart:
                chart.cursor = event.x

    def _look_again(self, seconds: float) -> None:
        """Beat out of turn."""
        if not self._is_catching_up:
            self._is_catching_up = True
            self.set_timer(seconds, self._catch_up)

    def _catch_up(self) -> None:
        self._is_catching_up = False
        if self.is_current and not self.cockpit.paused:
            self.beat()

    def _choose_run(self) -> None:
        """Follow `session.run`; without one, take the newest."""
        session = self.session
        if session.run is None:
            session.run = newest_run(session.folder)
        if self.body.display != (session.run is not None):
            self.body.display = session.run is not None
            self._empty.display = session.run is None
            self.arrange_panes(self.body.layout_now)
        if session.run is None or (self.feed and self.feed.directory.path == session.run.path):
            return
        self.feed = RunFeed(session.run, session.clock)
        self.charts = RunCharts(self.feed)
        self.options = replace(self.options, x_range=XRange())
        self._drawn = ()

    def _load(self, feed: RunFeed) -> None:
        """Read a large file in a thread of its own; the overview is shown meanwhile."""
        if self.is_working("load"):
            return
        self.in_thread(
            lambda: feed.load(lambda: get_current_worker().is_cancelled or self.feed is not feed), "load"
        )

    def set_options(self, options: ChartOptions) -> None:
        """Draw the charts another way."""
        self.options = options
        self.redraw()

    def redraw(self) -> None:
        """Paint again, with what keys have changed."""
        self._choices += 1
        self._paint()

    def choose(self, name: str) -> None:
        """Give a pane the focus."""
        self.body.panes[name].focus()

    def arrange_panes(self, layout: Layout) -> None:
        """Show the panes for which there is room, and that were chosen."""
        self.set_class(layout.is_compact, "-compact")
        self.set_class(layout.zoomed is not None, "-zoom")
        self.body.arrange_panes(layout)
        self._drawn = ()
        self.call_after_refresh(self._paint)

    def _paint(self) -> None:
        """What has changed; nothing where nothing has."""
        feed, charts = self.feed, self.charts
        if feed is None or charts is None:
            return
        names = chart_names(feed, self.body.chart_words)
        if names != self.body.layout_now.charts:
            self.body.arrange_panes(self.body.layout_now.with_charts(names))
        now = feed.revision, self._choices, self.body.layout_now
        if now != self._drawn or feed.is_active:
            if now != self._drawn:
                charts.refresh(self.options.axis)
            is_whole = self.body.paint(feed, charts, self.options, feed.revision + self._choices)
            self._drawn = now if is_whole else ()
            if not is_whole:
                self._look_again(_CATCH_UP_SECONDS)
        offered = feed.state, self.session.options.read_only
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()
