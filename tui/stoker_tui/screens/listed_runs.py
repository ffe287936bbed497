"""A screen that follows all runs of a folder, and draws what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Resize
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from stoker.run.directory import RunDirectory
from stoker.run.overview import DAMAGED, RunRow
from stoker.run.query import complete
from stoker.run.telemetry import read_latest
from stoker_tui.models.overlay import MOST_RUNS, Looks, Overlay
from stoker_tui.models.run_cells import about, run_cells
from stoker_tui.models.run_index import RunIndex
from stoker_tui.models.runs_view import RunsView
from stoker_tui.models.styled import Line, Piece, foreign, line
from stoker_tui.models.watch_charts import ChartOptions
from stoker_tui.models.watch_ranks import gpu_lines
from stoker_tui.screens.base import CockpitScreen
from stoker_tui.widgets.chart import Chart
from stoker_tui.widgets.columns import Column
from stoker_tui.widgets.grid import Grid
from stoker_tui.widgets.query_input import QueryInput
from stoker_tui.widgets.text_pane import TextPane

COLUMNS = (
    Column("state", "state", 9),
    Column("name", "run", 14, share=4, most=34),
    Column("model", "model", 10, share=2, most=20, priority=7),
    Column("method", "method", 9, share=1, most=16, priority=6),
    Column("ranks", "ranks", 5, right=True, priority=8),
    Column("step", "step", 11, right=True, priority=1),
    Column("loss", "loss", 6, right=True),
    Column("tokens", "tok/s", 6, right=True, priority=3),
    Column("usd", "spent", 8, right=True, priority=2),
    Column("eta", "ETA", 6, right=True, priority=4),
    Column("age", "age", 5, right=True, priority=5),
    Column("note", "note", 12, share=4, most=70, priority=9),
)
PLACEHOLDER = "/ filters: state:run loss<2"
_HINT = "words, key:text, key<number, has:key, /regex/, NOT, OR, ( )   tab completes"
_FIRST_SECONDS = 0.15
_READ_SECONDS = 0.015
_CATCH_UP_SECONDS = 0.05
_TELEMETRY_BYTES = 32_768
"""Read of the end of each host's file: a few samples of every GPU."""
_AGES_SECONDS = 10.0
"""Filters by age are looked at anew so often."""


class ListedRuns(CockpitScreen):
    """Table, line about the run of the cursor, curves of marked runs, GPUs of a live one."""

    class IndexRead(Message):
        """A worker has taken in something new."""

    CSS_PATH = "runs.tcss"
    AUTO_FOCUS: ClassVar[str] = "#runs"

    def __init__(self) -> None:
        super().__init__()
        self.view = RunsView.begin()
        self.options = ChartOptions()
        self.rows: dict[str, RunRow] = {}
        """Those of the table, by name."""
        # Kept, since a beat may come while the application takes its widgets away.
        self.filter_line = QueryInput(placeholder=PLACEHOLDER, id="query")
        self.counts = Static(id="counts", markup=False)
        self.grid = Grid(COLUMNS, id="runs", can_mark=True)
        self.about_line = TextPane(id="about")
        self.lower = Horizontal(id="lower")
        self.chart = Chart(id="overlay")
        self.gpus = TextPane(id="gpus")
        self._looks = Looks()
        self._is_catching_up = False
        self._choices = 0
        self._is_ready = False
        self._made_of: tuple[tuple[RunRow, ...], RunsView | None, float] = ((), None, 0.0)

    def compose_body(self) -> ComposeResult:
        """Filter, table, and what is below it."""
        with Horizontal(id="top"):
            yield self.filter_line
            yield self.counts
        yield self.grid
        yield self.about_line
        with self.lower:
            yield self.chart
            yield self.gpus

    def on_mount(self) -> None:
        """Read what a moment suffices for, so that the first picture is a table."""
        self.index = RunIndex(self.session.folder)
        self.overlay = Overlay(self.session.clock)
        self._is_ready = True
        self.about_line.can_focus = False
        self.grid.focus()
        self.index.refresh(budget_seconds=_FIRST_SECONDS)
        self.paint()
        if self.session.run is not None:
            self.grid.move_to_key(self.session.run.name)

    @property
    def row(self) -> RunRow | None:
        """The run of the cursor."""
        return self.rows.get(self.grid.cursor_key or "")

    @property
    def marked(self) -> list[RunRow]:
        """Marked runs that there are still, in the order in which they were marked."""
        found = (self.index.row(name) for name in self.grid.marked)
        return [row for row in found if row is not None]

    def beat(self) -> None:
        """Look for changes in a worker, and draw what depends on the time."""
        if not self._is_ready:
            return
        if not self.is_working("index"):
            shown = [*self.grid.shown_keys]
            self.in_thread(lambda: self._read_index(shown), "index")
        self.paint()

    def _read_index(self, shown: Sequence[str]) -> None:
        worker = get_current_worker()
        while not worker.is_cancelled:
            if self.index.refresh(shown):
                self.post_message(self.IndexRead())
            if self.index.is_complete:
                return

    def on_listed_runs_index_read(self) -> None:
        if not self.cockpit.paused:
            self.paint()

    def paint(self) -> None:
        """Everything; lines that look the same are not drawn again."""
        now, index = self.session.clock(), self.index
        self._choose_rows(now)
        grid = self.grid
        grid.set_sort(self.view.sort, self.view.descending)
        grid.set_empty(self._empty())
        rows = self.rows
        grid.show(list(rows), lambda name: run_cells(rows[name], now))
        self.set_class(not self.rows, "-empty")
        words = self.view.words(len(self.rows), index.rows)
        if self.counts.content != words:
            self.counts.update(words)
        self.paint_about()
        self.paint_lower()

    def _choose_rows(self, now: float) -> None:
        """Filter and sort, if rows or choices are others than before; ages change by themselves."""
        made_of = (self.index.rows, self.view, now // _AGES_SECONDS)
        if made_of[1:] != self._made_of[1:] or made_of[0] is not self._made_of[0]:
            self._made_of = made_of
            self.rows = {row.name: row for row in self.view.rows(self.index.rows, now)}

    def _empty(self) -> str:
        folder = self.session.folder
        if self.index.problem:
            return self.index.problem
        if self.index.rows:
            return f"None of {len(self.index.rows):,} runs is like that.\nesc clears the filter."
        return (
            f"No runs in {folder} yet.\n\n2 composes a recipe, and L there starts it.\n"
            "From a shell:  stoker new  and then  stoker run RECIPE --detach"
        )

    def paint_about(self) -> None:
        """The line under the table: the filter's mistake or completions, else the run of the cursor."""
        self.about_line.show("", [self._about()])

    def _about(self) -> Line:
        query, error, row = self.filter_line, self.view.error, self.row
        offers = [each.split()[-1] for each in complete(query.value)] if query.has_focus else []
        if offers:
            return line(Piece("tab: ", "muted"), "   ".join(offers))
        if error is not None:
            return line(foreign(f"column {error.column}: {error.reason}", "bad"))
        if query.has_focus:
            return line(Piece(_HINT, "muted"))
        return line() if row is None else line(foreign(row.name), ": ", about(row))

    def paint_lower(self) -> None:
        """Curves and GPUs, where there is room for them."""
        self.set_class(bool(self.marked), "-marked")
        self._paint_gpus()
        if self.lower.display and self.has_room:
            self._choose_curves()
            self._read_curves()

    @property
    def has_room(self) -> bool:
        """Whether the lower half is shown."""
        return not self.has_class("-low") or self.has_class("-marked") or self.has_class("-zoom")

    def _choose_curves(self) -> None:
        marked = [row for row in self.marked if row.state != DAMAGED][:MOST_RUNS]
        row = self.row
        alone = [row] if row is not None and row.state != DAMAGED else []
        looks = self._looks.choose([each.name for each in marked])
        self.grid.mark_glyphs = {name: str(look + 1) for name, look in looks.items()}
        self.grid.refresh_changed()
        chosen = marked or alone
        self.overlay.choose({each.name: RunDirectory(each.path) for each in chosen}, looks)

    def _read_curves(self) -> None:
        waits = self.overlay.read(_READ_SECONDS)
        feed = self.overlay.loading()
        if feed is not None and not self.is_working("load"):
            self.in_thread(lambda: feed.load(lambda: get_current_worker().is_cancelled), "load")
        if waits and not self._is_catching_up:
            self._is_catching_up = True
            self.set_timer(_CATCH_UP_SECONDS, self._catch_up)
        self.paint_curves()

    def _catch_up(self) -> None:
        self._is_catching_up = False
        if self.is_current:
            self._read_curves()

    def paint_curves(self) -> None:
        """The chart."""
        count = len(self.overlay.feeds)
        title = f"loss of {count} runs" if count > 1 else "loss"
        view = self.overlay.view(self.options, title)
        self.chart.show(view, self.overlay.revision + self._choices)

    def set_options(self, options: ChartOptions) -> None:
        """Draw the curves another way."""
        self.options = options
        self._choices += 1
        self.paint_curves()

    def _paint_gpus(self) -> None:
        row = next((each for each in self._live() if each is not None and each.is_active), None)
        lines = (
            []
            if row is None or self.has_class("-narrow")
            else gpu_lines(read_latest(RunDirectory(row.path).telemetry_path, _TELEMETRY_BYTES).gpus)
        )
        self.set_class(bool(lines), "-gpus")
        if row is not None and lines:
            self.gpus.show(f"GPUs now, {row.name}", lines)

    def _live(self) -> Sequence[RunRow | None]:
        """Whose GPUs are of interest, the most first."""
        return [self.row, *self.marked, *self.index.rows]

    def on_resize(self, event: Resize) -> None:
        """Another size may have room for what was hidden."""
        super().on_resize(event)
        if self._is_ready:
            self.call_after_refresh(self.paint_lower)
