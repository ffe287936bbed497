"""A framed pane of toned lines that scrolls, and repaints only lines that have changed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.geometry import Size
from textual.markup import escape
from textual.scroll_view import ScrollView
from textual.strip import Strip

from stoker_tui.keys import bind
from stoker_tui.models.styled import BLANK, Line, Tone, line_width, plain, shorten


class TextPane(ScrollView, can_focus=True):
    """Lines of a view model under a title.

    | Component class | Tone |
    |---|---|
    | `pane--NAME` | of `models.styled.Tone`, but plain |
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "pane--strong",
        "pane--muted",
        "pane--accent",
        "pane--good",
        "pane--warning",
        "pane--bad",
    }
    DEFAULT_CSS: ClassVar[str] = """
    TextPane {
        border: round $panel-lighten-2;
        border-title-color: $text-muted;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;

        &:focus { border: round $primary; border-title-color: $text; }
        .pane--strong { text-style: bold; }
        .pane--muted { color: $text-muted; }
        .pane--accent { color: $text-primary; }
        .pane--good { color: $text-success; }
        .pane--warning { color: $text-warning; }
        .pane--bad { color: $text-error; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("j", "scroll_down", "Down", "Scroll down.", id="pane.down", show=False),
        bind("k", "scroll_up", "Up", "Scroll up.", id="pane.up", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.title = ""
        self.lines: list[Line] = []

    @property
    def cells(self) -> int:
        """Width for which lines are to be made."""
        return self.scrollable_content_region.width

    @property
    def text(self) -> str:
        """What it says, all of it."""
        return "\n".join([self.title, *(plain(line).rstrip() for line in self.lines)])

    def show(self, title: str, lines: Sequence[Line]) -> None:
        """Replace what is shown; what is the same is not painted again."""
        if title != self.title:
            self.title = title
            self.border_title = escape(title)
        before, self.lines = self.lines, list(lines)
        if len(before) != len(self.lines):
            self.virtual_size = Size(0, len(self.lines))
        for y, (old, new) in enumerate(zip_longest(before, self.lines)):
            if old != new:
                self.refresh_line(y)

    def render_line(self, y: int) -> Strip:
        """One visible line."""
        index = y + self.scroll_offset.y
        width = self.cells
        line = shorten(self.lines[index], width) if index < len(self.lines) else BLANK
        segments = [Segment(piece.text, self._style(piece.tone)) for piece in line]
        return Strip(segments, line_width(line)).adjust_cell_length(width, self.rich_style)

    def _style(self, tone: Tone) -> Style:
        if tone == "plain":
            return self.rich_style
        return self.get_component_rich_style(f"pane--{tone}")
