"""The screen Runs: find runs, look at several at once, and act on one."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.timer import Timer
from textual.widgets import Input

from stoker.run.directory import RunDirectory
from stoker.run.overview import DAMAGED, RunRow
from stoker.run.settings import read_values
from stoker.run.watching import handle
from stoker_tui.keys import bind
from stoker_tui.models.actions import Change, twin
from stoker_tui.models.comparison import Comparison, differences, outcomes
from stoker_tui.models.run_changes import possible
from stoker_tui.models.runs_view import LETTERS
from stoker_tui.screens.compare import CompareScreen
from stoker_tui.screens.listed_runs import ListedRuns
from stoker_tui.screens.sort import SortScreen
from stoker_tui.widgets.grid import Grid
from stoker_tui.widgets.query_input import QueryInput

_SETTLE_SECONDS = 0.15
"""The cursor rests so long on a run before its curve is read."""
_LOOKS = [
    bind("slash", "filter", "Filter", "Show only runs like that.", id="runs.filter", display="/",
         twin="stoker runs --query QUERY"),
    bind("o", "sort", "Sort", "Then a letter: what to sort by.", id="runs.sort",
         twin="stoker runs --sort KEY"),
    bind("c", "compare", "Compare", "Marked runs side by side.", id="runs.compare",
         twin="stoker runs --json --query QUERY"),
    bind("d", "diff", "Diff", "Where the recipes of marked runs differ.", id="runs.diff"),
    bind("n", "new", "New", "Compose a recipe from that of this run.", id="runs.new", show=False),
    bind("z", "zoom", "Zoom", "Give the curves all the room, or take it back.", id="runs.zoom",
         show=False),
    bind("x", "axis", "Axis", "Along x: steps, tokens or time.", id="runs.axis", show=False),
    bind("g", "log", "Log", "Make y logarithmic, or not.", id="runs.log", show=False),
    bind("v", "smooth", "Smooth", "Smooth curves more, then not at all.", id="runs.smooth", show=False),
    bind("y", "copy", "Copy", "Copy the command that shows the run.", id="runs.copy", show=False),
    bind("escape", "back", "Back", "Clear the filter; then the marks.", id="runs.back", show=False),
]  # fmt: skip
_CHANGES = [
    bind("R", "resume", "Resume", "Go on with a run that was left.", id="runs.resume",
         twin="stoker resume RUN --detach", changes=True),
    bind("S", "stop", "Stop", "Ask the run to save and stop.", id="runs.stop",
         twin="stoker stop RUN", changes=True),
]  # fmt: skip


class RunsScreen(ListedRuns):
    """All runs of the folder."""

    TITLE_WORD: ClassVar[str] = "Runs"
    HELP: ClassVar[str] = (
        "All runs of the folder, live. enter opens the run of the cursor in Watch, 5 its logs. space"
        " marks runs: their curves are laid over each other, each with the digit, colour and pattern"
        " that it keeps. / filters: state:run loss<2 NOT failed OR has:eval; o and a letter sorts."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*_LOOKS, *_CHANGES]

    def __init__(self) -> None:
        super().__init__()
        self._settling: Timer | None = None
        self._offered: tuple[bool | None, ...] = ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What makes no sense for the run of the cursor is dimmed."""
        if action in ("resume", "stop") and self._is_ready:
            row = self.row
            if row is None or row.record is None or not possible(action, row.record.state):
                return None
        return super().check_action(action, parameters)

    def why_not(self, action: str) -> str:
        """The state of the run of the cursor."""
        return "there is no run" if self.row is None else f"{self.row.name} is {self.row.state}"

    def paint_about(self) -> None:
        """The line under the table, and which keys the run of the cursor has."""
        super().paint_about()
        offered = tuple(self.check_action(action, ()) for action in ("resume", "stop"))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    @on(Grid.Highlighted, "#runs")
    def _note_cursor(self, message: Grid.Highlighted) -> None:
        """Watch and Logs show the run of the cursor, too."""
        row = self.rows.get(message.key)
        if row is not None and row.state != DAMAGED and self.is_current:
            self.session.run = RunDirectory(row.path)
        self.paint_about()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLE_SECONDS, self._settled)

    def _settled(self) -> None:
        self._settling = None
        self.paint_lower()

    @on(Grid.Marked, "#runs")
    def _note_marks(self) -> None:
        self.call_after_refresh(self.paint_lower)

    @on(Grid.HeaderSelected, "#runs")
    def _sort_by_label(self, message: Grid.HeaderSelected) -> None:
        if message.key in (key for key, _ in LETTERS.values()):
            self._sorted(message.key)

    @on(Grid.Selected, "#runs")
    def _open(self) -> None:
        row = self.row
        if row is None or row.state == DAMAGED:
            self.notify(row.note if row else "There is no run.", severity="error", markup=False)
            return
        self.session.run = RunDirectory(row.path)
        self.cockpit.action_go("watch")

    @on(Input.Changed, "#query")
    def _filter(self, message: Input.Changed) -> None:
        self.view = self.view.filtered_by(message.value)
        self.paint()

    @on(QueryInput.Left)
    def _leave_filter(self) -> None:
        self.grid.focus()
        self.call_after_refresh(self.paint_about)

    def action_filter(self) -> None:
        """Type a query."""
        self.filter_line.focus()
        self.call_after_refresh(self.paint_about)

    def action_back(self) -> None:
        """One thing at a time: the room of the curves, the filter, the marks."""
        query = self.filter_line
        if self.has_class("-zoom"):
            self.action_zoom()
        elif query.value:
            query.value = ""
        elif self.grid.marked:
            self.grid.mark([])

    def action_sort(self) -> None:
        """Ask for a letter."""
        self.app.push_screen(SortScreen(), self._sorted)

    def _sorted(self, key: str | None) -> None:
        if key:
            self.view = self.view.sorted_by(key)
            self.paint()

    def action_zoom(self) -> None:
        """The curves take all the room, or give it back."""
        self.toggle_class("-zoom")
        if not self.has_class("-zoom"):
            self.grid.focus()
        self.call_after_refresh(self.paint_lower)

    def action_axis(self) -> None:
        """The next of step, tokens, time."""
        self.set_options(self.options.along_next_axis())

    def action_log(self) -> None:
        """Logarithmic, or not."""
        self.set_options(self.options.with_log("loss"))

    def action_smooth(self) -> None:
        """The next of some smoothings."""
        self.set_options(self.options.smoothed_more())

    def action_copy(self) -> None:
        """The command that shows the run of the cursor."""
        if self.row is not None:
            self.app.copy_to_clipboard(twin(["show", handle(RunDirectory(self.row.path))]))

    def action_compare(self) -> None:
        """Marked runs: how they went, and what differs."""
        rows = self._several()
        if rows:
            lines = [*outcomes(rows, self.session.clock()), *_differences(rows)]
            self._compare(f"{len(rows)} runs compared", rows, lines)

    def action_diff(self) -> None:
        """Only what differs in their recipes."""
        rows = self._several()
        if rows:
            self._compare("recipes, where they differ", rows, _differences(rows))

    def _several(self) -> list[RunRow]:
        """Marked runs; with one mark, that and the run of the cursor."""
        rows = [row for row in self.marked if row.state != DAMAGED]
        row = self.row
        if len(rows) == 1 and row is not None and row.state != DAMAGED and row.name != rows[0].name:
            rows.append(row)
        if len(rows) < 2:
            self.notify("Mark two runs or more with space first.", markup=False)
            return []
        return rows

    def _compare(self, title: str, rows: list[RunRow], lines: list[Comparison]) -> None:
        screen = CompareScreen(
            title,
            [row.name for row in rows],
            lines,
            empty="Their recipes are the same.",
        )
        self.app.push_screen(screen)

    def action_new(self) -> None:
        """To Compose, with the recipe of this run."""
        row = self.row
        if row is None:
            return
        recipe = RunDirectory(row.path).recipe_path
        if not recipe.is_file():
            self.notify(f"{row.name} has no recipe.toml.", severity="error", markup=False)
            return
        self.session.recipe = recipe
        self.cockpit.action_go("compose")

    def action_resume(self) -> None:
        """Go on with the run of the cursor."""
        self._change("resume")

    def action_stop(self) -> None:
        """Ask the run of the cursor to stop."""
        self._change("stop")

    def _change(self, change: Change) -> None:
        if self.row is not None:
            self.change_run(change, RunDirectory(self.row.path))


def _differences(rows: list[RunRow]) -> list[Comparison]:
    return differences([read_values(RunDirectory(row.path)) for row in rows])
