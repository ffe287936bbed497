"""A log on the screen: only the lines that are seen are read and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from stoker_tui.keys import bind
from stoker_tui.models.log_panes import Pane
from stoker_tui.widgets.log_lines import Layout, fitted

ROLES = (
    "plain", "debug", "info", "warning", "error", "critical", "remark", "time", "label", "failing",
    "match", "pointer", "cursor",
)  # fmt: skip
_WHEEL_ROWS = 3


class LogPane(Widget, can_focus=True):
    """Shows a pane's view, and moves in it. Posts `Moved` when the cursor was moved.

    | Component class | What it is |
    |---|---|
    | `log-pane--debug`, `-info`, `-warning`, `-error`, `-critical`, `-plain` | lines by their level |
    | `log-pane--remark` | what happened between lines |
    | `log-pane--time`, `-label`, `-failing` | when, whose, and whose that failed first |
    | `log-pane--match` | what is searched for |
    | `log-pane--cursor`, `-pointer` | the line of the cursor, and the bar before it |
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"log-pane--{role}" for role in ROLES}
    DEFAULT_CSS: ClassVar[str] = """
    LogPane {
        height: 1fr;
        & > .log-pane--debug { color: $text-muted; }
        & > .log-pane--warning { color: $text-warning; }
        & > .log-pane--error { color: $text-error; }
        & > .log-pane--critical { color: $text-error; text-style: bold; }
        & > .log-pane--remark { color: $text-accent; }
        & > .log-pane--time { color: $text-muted; }
        & > .log-pane--label { color: $text-primary; }
        & > .log-pane--failing { color: $text-error; text-style: bold; }
        & > .log-pane--match { text-style: reverse; }
        & > .log-pane--pointer { color: $text-muted; }
        &:focus > .log-pane--pointer { color: $primary; }
        &:focus > .log-pane--cursor { background: $boost; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("up,k", "move(-1)", "Up", "One line up.", id="lines.up", show=False),
        bind("down,j", "move(1)", "Down", "One line down.", id="lines.down", show=False),
        bind("pageup", "page(-1)", "Page up", "A page up.", id="lines.page_up", show=False),
        bind("pagedown", "page(1)", "Page down", "A page down.", id="lines.page_down", show=False),
        bind("home", "home", "Start", "To the first line.", id="lines.home", show=False),
        bind("end", "end", "End", "To the last line, and follow.", id="lines.end", show=False),
        bind("enter", "unfold", "Unfold", "Show identical lines one by one, or fold them.",
             id="lines.unfold", show=False),
    ]  # fmt: skip

    @dataclass
    class Moved(Message):
        """The cursor was moved by the user."""

        pane: LogPane

        @property
        def control(self) -> LogPane:
            return self.pane

    def __init__(self, pane: Pane, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pane = pane
        self.wrap = False
        self.times = False
        self._strips: list[Strip] = []

    def show(self, *, wrap: bool, times: bool) -> None:
        """Bring up to date; draws again only what looks different."""
        self.wrap, self.times = wrap, times
        self.bring_up_to_date()

    def bring_up_to_date(self) -> None:
        """Read what is seen."""
        if self.size.height <= 0 or self.size.width <= 0:
            return
        strips = self._make_strips()
        if strips != self._strips:
            self._strips = strips
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the widget."""
        if y < len(self._strips):
            return self._strips[y].apply_style(self.rich_style)
        return Strip.blank(self.size.width, self.rich_style)

    def on_resize(self, event: Resize) -> None:
        """Other lines are seen."""
        self.bring_up_to_date()

    def on_focus(self) -> None:
        self.bring_up_to_date()

    def on_blur(self) -> None:
        self.bring_up_to_date()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self.action_move(-_WHEEL_ROWS)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self.action_move(_WHEEL_ROWS)

    def on_click(self, event: Click) -> None:
        """The cursor to the line that was clicked."""
        layout = self._layout()
        window = self.pane.view.window(self.size.height, layout.height)
        y = event.y + window.skipped
        for position, row in window.rows:
            y -= layout.height(row)
            if y < 0:
                self.pane.view.go(position)
                self._moved()
                return

    def action_move(self, count: int) -> None:
        """Move by lines."""
        self.pane.view.move(count)
        self._moved()

    def action_page(self, direction: int) -> None:
        """Move by a page."""
        self.pane.view.page(direction * max(1, self.size.height - 1))
        self._moved()

    def action_home(self) -> None:
        """To the start."""
        self.pane.view.home()
        self._moved()

    def action_end(self) -> None:
        """To the end."""
        self.pane.view.follow(True)
        self._moved()

    def action_unfold(self) -> None:
        """Show each of the identical lines, or fold them again."""
        if self.pane.view.toggle_fold():
            self._moved()

    def _moved(self) -> None:
        self.bring_up_to_date()
        self.post_message(self.Moved(self))

    def _layout(self) -> Layout:
        names = tuple(log.name for log in self.pane.view.text.logs)
        query = self.pane.view.query
        return Layout(self.size.width, names, self.pane.failing, self.wrap, self.times, query)

    def _make_strips(self) -> list[Strip]:
        view, layout = self.pane.view, self._layout()
        styles = {role: self._style(role) for role in ROLES}
        window = view.window(self.size.height, layout.height)
        if not window.rows:
            words = "Nothing printed." if view.filter.is_open else "No such line. esc shows all."
            return [fitted(Strip([Segment(f" {words}", styles["time"])]), self.size.width)]
        lines: list[Strip] = []
        for position, row in window.rows:
            has_cursor = position == view.cursor
            lines += layout.strips(row, styles.__getitem__, has_cursor=has_cursor)
        return lines[window.skipped : window.skipped + self.size.height]

    def _style(self, role: str) -> Style:
        return self.get_component_rich_style(f"log-pane--{role}", partial=True)
