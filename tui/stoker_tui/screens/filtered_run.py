"""A line to type words in, which charts or events must have to be shown."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Input

from stoker_tui.models.watch_layout import TABLES
from stoker_tui.screens.watched_run import WatchedRun


class FilteredRun(WatchedRun):
    """A watched run whose charts and events can be narrowed down."""

    def __init__(self) -> None:
        super().__init__()
        self._line = Input(id="filter", compact=True)
        self._line.display = False
        self._narrowed = ""
        """The pane that had the focus."""

    def compose_body(self) -> ComposeResult:
        """The run, and the line below it."""
        yield from super().compose_body()
        yield self._line

    def action_filter(self) -> None:
        """Ask for words: for events where they have the focus, else for charts."""
        self._narrowed = self.body.name_of(self.focused) or self.body.layout_now.chart
        self._line.placeholder = "words of events" if self._are_events else "words of charts' titles"
        self._line.value = self.body.event_words if self._are_events else self.body.chart_words
        self._line.display = True
        self._line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what has the words, as they are typed."""
        if event.input.display:
            self._narrow(event.value)

    def on_input_submitted(self) -> None:
        """Leave the line, keep the words."""
        self._line.display = False
        layout = self.body.layout_now
        self.choose(self._narrowed if self._narrowed in layout.shown else layout.chart)

    def leave_filter(self) -> bool:
        """Show what was left out, and what was in front before; False if nothing is left out."""
        if not (self._line.display or self.body.chart_words or self.body.event_words):
            return False
        self._line.display = False
        self.body.chart_words = self.body.event_words = ""
        self.redraw()
        layout = self.body.layout_now
        # Another run may not have that chart.
        name = self._narrowed if self._narrowed in (*layout.charts, *TABLES) else layout.chart
        self.arrange_panes(layout.in_front(name))
        self.choose(name)
        return True

    @property
    def _are_events(self) -> bool:
        return self._narrowed == "happenings"

    def _narrow(self, words: str) -> None:
        if self._are_events:
            self.body.event_words = words
        else:
            self.body.chart_words = words
        self.redraw()
