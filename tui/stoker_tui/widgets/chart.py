"""A line chart of braille dots that writes only the characters that changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from stoker_tui.keys import bind
from stoker_tui.models.chart_box import Box, box, changes
from stoker_tui.models.chart_view import NUM_LOOKS, ChartView

if TYPE_CHECKING:
    from stoker_tui.app import Cockpit

_ROLES = ("raw", "axis", "mark", "odd", "cursor", "note", "border", "title", "value")
_LEAP = 10
_KEYS = (
    ("left,h", "move_cursor(-1)", "Cursor", "Read the chart further left.", "left"),
    ("right,l", "move_cursor(1)", "Cursor", "Read the chart further right.", "right"),
    (
        "shift+left",
        f"move_cursor(-{_LEAP})",
        "Leap",
        f"Read it {_LEAP} columns further left.",
        "leap_left",
    ),
    (
        "shift+right",
        f"move_cursor({_LEAP})",
        "Leap",
        f"Read it {_LEAP} columns further right.",
        "leap_right",
    ),
    ("home", "cursor_at('start')", "Start", "Read the chart's first point.", "start"),
    ("end", "cursor_at('end')", "End", "Read the chart's newest point.", "end"),
    ("escape", "clear_cursor", "No cursor", "Take the cursor away.", "clear"),
)


class Chart(Widget, can_focus=True):
    """Shows a `ChartView`; has a cursor that reads the curves where it has the focus.

    | Component class | What |
    | :- | :- |
    | `chart--look-0` to `-5` | A curve, by its look. |
    | `chart--raw` | A curve behind its smoothed one. |
    | `chart--axis`, `chart--border`, `chart--note` | Numbers, frame, legend and hints. |
    | `chart--title`, `chart--value` | In the frame. |
    | `chart--mark`, `chart--odd`, `chart--cursor` | Marks, values not finite, the cursor. |
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"chart--look-{look}" for look in range(NUM_LOOKS)),
        *(f"chart--{role}" for role in _ROLES),
    }
    DEFAULT_CSS: ClassVar[str] = """
    Chart {
        height: 1fr;
        width: 1fr;
        .chart--look-0 { color: $text-primary; }
        .chart--look-1 { color: $text-warning; }
        .chart--look-2 { color: $text-success; }
        .chart--look-3 { color: $text-error; }
        .chart--look-4 { color: $text; }
        .chart--look-5 { color: $text-secondary; }
        .chart--raw { color: $text-muted; text-style: dim; }
        .chart--axis { color: $text-muted; }
        .chart--note { color: $text-muted; }
        .chart--border { color: $text-disabled; }
        .chart--title { color: $text-muted; }
        .chart--value { color: $text; text-style: bold; }
        .chart--mark { color: $text-warning; }
        .chart--odd { color: $text-error; text-style: bold; }
        .chart--cursor { color: $text; }
        &:focus > .chart--border { color: $text-primary; }
        &:focus > .chart--title { color: $text; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(key, action, label, about, id=f"chart.{name}", show=False)
        for key, action, label, about, name in _KEYS
    ]

    @dataclass
    class CursorMoved(Message):
        """The cursor was moved by the user; other charts may follow."""

        chart: Chart
        x: float | None
        """In units of the x-axis; None: taken away."""

        @property
        def control(self) -> Chart:
            return self.chart

    def __init__(
        self, view: ChartView | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._view = view or ChartView("")
        self._revision = 0
        self._cursor: float | None = None
        self._box: Box | None = None
        self._styles: dict[str, Style] = {}

    @property
    def view(self) -> ChartView:
        """What is shown."""
        return self._view

    @property
    def cursor(self) -> float | None:
        """The x that is read; None without a cursor."""
        return self._cursor

    @cursor.setter
    def cursor(self, x: float | None) -> None:
        if x != self._cursor:
            self._cursor = x
            self._redraw()

    def show(self, view: ChartView, revision: int) -> None:
        """Draw `view` again if it, or the `revision` of the data behind it, is another than before."""
        if revision == self._revision and view == self._view:
            return
        self._view, self._revision = view, revision
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One line of what was drawn last."""
        rows = self._drawn().picture.rows
        if y >= len(rows):
            return Strip.blank(self.size.width, self.rich_style)
        return Strip([Segment(text, self._style(role)) for text, role in rows[y]], self.size.width)

    def notify_style_update(self) -> None:
        """Another theme, or the focus, changes colours."""
        self._styles.clear()
        super().notify_style_update()

    def on_click(self, event: events.Click) -> None:
        """Read the chart where it was clicked."""
        drawn = self._drawn()
        column = drawn.column(event.x)
        if drawn.layout is not None and column is not None:
            self._move_to(drawn.layout.x_at(column))

    def action_move_cursor(self, columns: int) -> None:
        """Move the cursor, which begins at the newest point."""
        layout = self._drawn().layout
        if layout is None:
            return
        here = None if self._cursor is None else layout.column(self._cursor)
        if here is None:
            self.action_cursor_at("end")
        else:
            self._move_to(layout.x_at(min(max(here + columns, 0), layout.width - 1)))

    def action_cursor_at(self, place: str) -> None:
        """Put the cursor at the "start" or the "end" of what is shown and has points."""
        layout = self._drawn().layout
        extents = [curve.series.extent for curve in self._view.curves]
        known = [extent for extent in extents if extent is not None]
        if layout is None or not known:
            return
        low, high = layout.x_range
        if place == "start":
            self._move_to(max(low, min(first for first, _ in known)))
        else:
            self._move_to(min(high, max(last for _, last in known)))

    def action_clear_cursor(self) -> None:
        """Take the cursor away."""
        self._move_to(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is the screen's where there is no cursor."""
        return action != "clear_cursor" or self._cursor is not None

    def _move_to(self, x: float | None) -> None:
        if x != self._cursor:
            self.cursor = x
            self.post_message(self.CursorMoved(self, x))

    def _redraw(self) -> None:
        """Draw again, and have what changed written."""
        before, self._box = self._box, None
        if before is None or not self.is_mounted or not self.size:
            self.refresh()
            return
        patches = changes(before.picture, self._drawn().picture) if self._fits(before) else None
        if patches is None:
            self.refresh()
        elif patches:
            self.refresh(*(Region(x, y, width, 1) for x, y, width in patches))

    def _fits(self, drawn: Box) -> bool:
        rows = drawn.picture.rows
        width = sum(len(run.text) for run in rows[0]) if rows else 0
        return (width, len(rows)) == tuple(self.size)

    def _drawn(self) -> Box:
        """The chart at the present size."""
        if self._box is None or not self._fits(self._box):
            plain = cast("Cockpit", self.app).session.options.ascii
            self._box = box(self._view, *self.size, plain=plain, cursor=self._cursor)
        return self._box

    def _style(self, role: str) -> Style:
        if role not in self._styles:
            found = self.get_component_rich_style(f"chart--{role}") if role else self.rich_style
            self._styles[role] = found
        return self._styles[role]
