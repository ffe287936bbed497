"""A recipe's text, to be read: line numbers, colours by kind, one line marked."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.segment import Segment
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from stoker.run.lines import clean
from stoker_tui.keys import bind
from stoker_tui.widgets.pointer import pointer_of

_PARTS = re.compile(
    r"(?P<comment>#.*$)|(?P<text>\"(?:\\.|[^\"\\])*\"|'[^']*')|(?P<table>^\s*\[+[^\]]*\]+)"
    r"|(?P<key>[A-Za-z0-9_.-]+(?=\s*=))|(?P<plain>.)"
)


class TomlText(ScrollView, can_focus=True):
    """Scrolls by the arrow keys, `j` and `k`.

    | Component class | |
    |---|---|
    | `toml--comment`, `toml--text`, `toml--table`, `toml--key` | kinds of text |
    | `toml--number` | line numbers |
    | `toml--current` | the line that is marked |
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "toml--comment",
        "toml--text",
        "toml--table",
        "toml--key",
        "toml--number",
        "toml--current",
    }
    DEFAULT_CSS: ClassVar[str] = """
    TomlText { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; }
    TomlText .toml--comment { text-style: dim italic; }
    TomlText .toml--text { color: $text-success; }
    TomlText .toml--table { color: $text-primary; text-style: bold; }
    TomlText .toml--key { color: $text-accent; }
    TomlText .toml--number { text-style: dim; }
    TomlText .toml--current { background: $surface-lighten-1; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("j", "scroll_down", "Down", "A line down.", id="toml.down", show=False),
        bind("k", "scroll_up", "Up", "A line up.", id="toml.up", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[str] = []
        self._current = 0

    def show(self, text: str, line: int = 0) -> None:
        """Show this text, `line` (from 1; 0: none) marked and in sight."""
        lines = [clean(each).expandtabs(4) for each in text.split("\n")]
        if lines != self._lines or line != self._current:
            self._lines, self._current = lines, line
            width = max(map(len, lines)) + self._gutter()
            self.virtual_size = Size(width, len(lines))
            self.refresh()
            # Its size is known after the next layout, when it was hidden until now.
            self.call_after_refresh(self._keep_in_sight)

    def on_resize(self) -> None:
        """Keep the marked line in sight."""
        self.call_after_refresh(self._keep_in_sight)

    def render_line(self, y: int) -> Strip:
        """One line of the text."""
        left, place = self.scroll_offset.x, y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        here = place + 1 == self._current
        base = self.rich_style
        if here:
            base += self.get_component_rich_style("toml--current")
        number = self.get_component_rich_style("toml--number", partial=True)
        pointer = pointer_of(self.has_focus) if here else " "
        gutter = f"{pointer}{place + 1:>{self._gutter() - 2}} "
        segments = [Segment(gutter, base + number)]
        for match in _PARTS.finditer(self._lines[place]):
            kind = match.lastgroup or "plain"
            style = base
            if kind != "plain":
                style += self.get_component_rich_style(f"toml--{kind}", partial=True)
            segments.append(Segment(match.group(), style))
        strip = Strip(segments)
        return strip.crop_extend(left, left + width, base)

    def _gutter(self) -> int:
        return len(str(len(self._lines))) + 2

    def _keep_in_sight(self) -> None:
        height = self.size.height
        if not self._current or not height:
            return
        top = self.scroll_offset.y
        if not top <= self._current - 1 < top + height:
            self.scroll_to(y=max(self._current - 1 - height // 2, 0), animate=False, immediate=True)
