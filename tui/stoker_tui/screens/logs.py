"""The screen Logs: what the ranks of a run wrote."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import SuspendNotSupported
from textual.binding import BindingType
from textual.widgets import Input

from stoker.run.log_order import REMARK
from stoker.run.log_query import LogQuery
from stoker_tui.keys import bind
from stoker_tui.models.log_search import Search
from stoker_tui.models.log_view import Position
from stoker_tui.models.pager import page
from stoker_tui.screens.log_choice import LogChoiceScreen
from stoker_tui.screens.open_logs import OpenLogsScreen

_TWIN = "stoker logs RUN"


class LogsScreen(OpenLogsScreen):
    """Attempts, ranks, levels, search, and what is done with a line."""

    TITLE_WORD: ClassVar[str] = "Logs"
    HELP: ClassVar[str] = (
        "What the ranks of a run wrote, and what happened between the lines. Several ranks are merged in"
        " the order in which their lines arrived, or stand side by side. left and right go from log to"
        " log, r chooses several; ✗ marks the rank that failed first. Words are found as they stand, an"
        " /expression/ between slashes; identical lines are folded into one, enter unfolds them."
    )
    CSS_PATH = "logs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("slash", "find", "Find", "Find words, or an /expression/.", id="logs.find",
             twin=f"{_TWIN} --grep TEXT"),
        bind("n", "next(1)", "Next", "The next match.", id="logs.next", show=False),
        bind("N", "next(-1)", "Previous", "The match before.", id="logs.previous", show=False),
        bind("o", "only", "Only", "Only lines that match, or all.", id="logs.only", show=False,
             twin=f"{_TWIN} --grep TEXT"),
        bind("e", "error", "Error", "The next error.", id="logs.error"),
        bind("v", "level", "Level", "All levels, information, warnings, errors.", id="logs.level",
             twin=f"{_TWIN} --level warning"),
        bind("left,h", "choose(-1)", "Log", "The log before.", id="logs.left", show=False),
        bind("right,l", "choose(1)", "Log", "The next log.", id="logs.right", show=False),
        bind("r", "ranks", "Ranks", "Choose which logs are shown.", id="logs.ranks",
             twin=f"{_TWIN} --rank 0 --rank 3"),
        bind("m", "split", "Merge/split", "All in one, or side by side.", id="logs.split",
             twin=f"{_TWIN} --rank all"),
        bind("[", "attempt(-1)", "Attempt", "The attempt before.", id="logs.earlier", show=False,
             twin=f"{_TWIN} --attempt 1"),
        bind("]", "attempt(1)", "Attempt", "The next attempt.", id="logs.later", show=False),
        bind("f", "follow", "Follow", "Stay at the end as it grows, or not.", id="logs.follow",
             twin=f"{_TWIN} --follow"),
        bind("w", "wrap", "Wrap", "Long lines on several lines, or cut.", id="logs.wrap"),
        bind("t", "times", "Times", "When each line came.", id="logs.times", show=False,
             twin=f"{_TWIN} --times"),
        bind("i", "happenings", "Happenings", "What happened between the lines, or lines alone.",
             id="logs.happenings", show=False),
        bind("|", "pager", "Pager", "Open this log in $PAGER.", id="logs.pager", show=False),
        bind("y", "copy", "Copy", "Copy the line.", id="logs.copy", show=False),
        bind("c", "copy_command", "Copy command", "Copy the command that shows the same.",
             id="logs.copy_command", show=False),
        bind("escape", "clear", "Back", "Forget the search; then show all levels.", id="logs.clear",
             show=False),
    ]  # fmt: skip

    def action_find(self) -> None:
        """Ask what to look for."""
        find = self.query_one("#logs-find", Input)
        find.add_class("-open")
        find.disabled = False
        find.value = self.desk.query.text if self.desk and self.desk.query else ""
        find.focus()

    @on(Input.Submitted, "#logs-find")
    def _find(self, event: Input.Submitted) -> None:
        """Go to the first match from here."""
        event.stop()
        self._close_find()
        if self.desk is None:
            return
        query = LogQuery(event.value) if event.value else None
        if query is not None and query.problem:
            self.notify(f"{query.problem}; taken as words.", severity="warning", markup=False)
        self.desk.query = query
        self.apply_filter()
        if query is not None:
            at_end = self.pane is not None and self.pane.view.is_following
            self._seek(query, back=at_end, include_here=True)

    def action_next(self, step: int) -> None:
        """To the next match, or the one before."""
        if self.desk is not None and self.desk.query is not None:
            self._seek(self.desk.query, back=step < 0)
        else:
            self.action_find()

    def action_error(self) -> None:
        """To the next error, from the end on from the start."""
        self._seek(None, back=False)

    def action_only(self) -> None:
        """Hide what does not match, or show it again."""
        if self.desk is not None and self.desk.query is not None:
            self.desk.only = not self.desk.only
            self.apply_filter()

    def action_level(self) -> None:
        """The next level."""
        if self.desk is not None:
            self.desk.step_level()
            self.apply_filter()

    def action_choose(self, step: int) -> None:
        """Another log."""
        if self.desk is not None:
            self.desk.step_choice(step)
            self.reopen()

    def action_ranks(self) -> None:
        """Ask which logs."""
        desk = self.desk
        if desk is None or not desk.logs:
            return
        names = [log.name for log in desk.logs]
        ranks = [log.name for log in desk.logs if log.rank is not None]
        notes = {} if desk.failing is None else {f"r{desk.failing}": "✗ failed first"}

        def take(chosen: tuple[str, ...] | None) -> None:
            if chosen is not None:
                desk.choose(() if list(chosen) == ranks else chosen)
                self.reopen()

        self.app.push_screen(LogChoiceScreen(names, desk.chosen or ranks, notes), take)

    def action_split(self) -> None:
        """One text, or panes."""
        if self.desk is not None:
            self.desk.is_split = not self.desk.is_split
            self.reopen()

    def action_attempt(self, step: int) -> None:
        """Another attempt."""
        if self.desk is not None and self.desk.step_attempt(step):
            self.reopen()

    def action_follow(self) -> None:
        """Stay at the end, or where it is."""
        pane = self.pane
        if self.opened is not None and pane is not None:
            self.opened.follow(not pane.view.is_following)
            self.show_panes()

    def action_wrap(self) -> None:
        """Cut long lines, or not."""
        self.wrap = not self.wrap
        self.show_panes()

    def action_times(self) -> None:
        """Times, or none."""
        self.times = not self.times
        self.show_panes()

    def action_happenings(self) -> None:
        """What happened between the lines, or lines alone."""
        if self.desk is not None:
            self.desk.happenings = not self.desk.filter.happenings
            self.apply_filter()

    def action_clear(self) -> None:
        """One thing less: the input, the search, the level."""
        find = self.query_one("#logs-find", Input)
        if find.has_class("-open"):
            self._close_find()
        elif self.desk is not None and self.desk.query is not None:
            self.desk.query, self.desk.only = None, False
            self.apply_filter()
        elif self.desk is not None and self.desk.level is not None:
            self.desk.level = None
            self.apply_filter()

    def action_copy(self) -> None:
        """The line under the cursor."""
        row = self.pane.view.current() if self.pane is not None else None
        if row is not None:
            self.app.copy_to_clipboard(row.line.text)

    def action_copy_command(self) -> None:
        """The command line's twin of what is shown."""
        if self.desk is not None:
            self.app.copy_to_clipboard(self.desk.twin())

    def action_pager(self) -> None:
        """The log of the line under the cursor, in the user's pager."""
        pane = self.pane
        if pane is None or not pane.view.text.logs:
            return
        row = pane.view.current()
        log = 0 if row is None or row.line.log == REMARK else row.line.log
        path = pane.view.text.logs[log].path
        try:
            with self.app.suspend():
                problem = page(path)
        except SuspendNotSupported:
            problem = f"no pager here. The log is {path}"
        if problem:
            self.notify(problem, severity="warning", markup=False)

    def _close_find(self) -> None:
        find = self.query_one("#logs-find", Input)
        find.remove_class("-open")
        find.disabled = True
        self.focus_pane()

    def _seek(self, query: LogQuery | None, *, back: bool, include_here: bool = False) -> None:
        """Look in a thread; the log may be large."""
        pane = self.pane
        if pane is None:
            return
        view = pane.view
        row = view.current()
        if include_here and row is not None and query is not None and query.matches(row.line.text):
            view.go(view.cursor)
            self.show_panes()
            return
        search = Search.of(view, query)

        def done(position: Position | None) -> None:
            same = view.filter == search.filter and view.text.generation == generation
            if position is not None and same:
                view.go(position)
                self.show_panes()
            elif position is None:
                self.notify("no error." if query is None else f"{query.text}: not found.", markup=False)

        generation = view.text.generation
        self.look(lambda should_stop: search.find(back=back, should_stop=should_stop), done, "find")
