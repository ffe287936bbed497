"""A table that draws only the lines it shows: fifty thousand rows are as quick as five."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual.binding import BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from stoker_tui.keys import bind
from stoker_tui.widgets.columns import Cell, Column
from stoker_tui.widgets.grid_lines import COLOURS, TONES, Line, Painter

__all__ = ["Cell", "Column", "Grid"]

Cells = Callable[[str], Sequence[Cell]]


class Grid(ScrollView, can_focus=True):
    """Rows are named by keys; their cells are asked for when they are drawn.

    Only lines that look different from before are drawn again. Posts `Highlighted` when the cursor
    comes to a row, `Selected` for enter or a click on the row of the cursor, `Marked` when marks change,
    `HeaderSelected` for a click on a column's label.

    | Component class | What it is |
    |---|---|
    | `grid--header` | labels of the columns |
    | `grid--cursor` | row of the cursor |
    | `grid--success`, `-warning`, `-error`, `-muted`, `-accent`, `-primary`, `-bold` | tones of cells |
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--header",
        "grid--cursor",
        *(f"grid--{tone}" for tone in TONES),
    }
    DEFAULT_CSS: ClassVar[str] = """
    Grid {
        height: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .grid--header { color: $text-muted; text-style: bold; }
        & > .grid--cursor { background: $block-cursor-blurred-background; }
        &:focus > .grid--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
        & > .grid--bold { text-style: bold; }
    }
    """ + "".join(f"Grid > .grid--{tone} {{ color: $text-{tone}; }}\n" for tone in COLOURS)
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("up,k", "move(-1)", "Up", "One row up.", id="grid.up", show=False),
        bind("down,j", "move(1)", "Down", "One row down.", id="grid.down", show=False),
        bind("pageup", "page(-1)", "Page up", "A page up.", id="grid.page_up", show=False),
        bind("pagedown", "page(1)", "Page down", "A page down.", id="grid.page_down", show=False),
        bind("home", "edge(-1)", "First", "To the first row.", id="grid.first", show=False),
        bind("end", "edge(1)", "Last", "To the last row.", id="grid.last", show=False),
        bind("enter", "select", "Open", "Open the row.", id="grid.select", show=False),
        bind("space", "mark", "Mark", "Mark the row, or take the mark off.", id="grid.mark"),
    ]

    @dataclass
    class Told(Message):
        """Something about a grid."""

        grid: Grid

        @property
        def control(self) -> Grid:
            return self.grid

    @dataclass
    class RowMessage(Told):
        """About one row."""

        key: str

    class Highlighted(RowMessage):
        """The cursor came to another row."""

    class Selected(RowMessage):
        """A row is to be opened."""

    class HeaderSelected(RowMessage):
        """A column's label was clicked; `key` is the column's."""

    @dataclass
    class Marked(Told):
        """Other rows are marked than before."""

        keys: tuple[str, ...]
        """In the order in which they were marked."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        id: str | None = None,
        classes: str | None = None,
        can_mark: bool = False,
        empty: str = "",
    ) -> None:
        """`can_mark`: whether space marks rows. `empty` is shown where there are no rows."""
        super().__init__(id=id, classes=classes)
        self.columns = tuple(columns)
        self.can_mark = can_mark
        self.empty = empty
        self.sort: tuple[str, bool] | None = None
        """Key of the column that the rows are sorted by, and whether downwards."""
        self.mark_glyphs: Mapping[str, str] = {}
        """One character for rows whose mark is not `*`."""
        self._keys: Sequence[str] = ()
        self._places: dict[str, int] = {}
        self._cells: Cells = lambda key: ()
        self._cursor = 0
        self._marked: dict[str, None] = {}
        self._drawn: dict[int, Line] = {}
        self._painter: Painter | None = None

    def show(self, keys: Sequence[str], cells: Cells) -> None:
        """Show these rows; the cursor stays on its row, or at its place if that has gone.

        `cells(key)` gives one cell for each column, and is called for rows on the screen only.
        """
        before = self.cursor_key
        if list(keys) != self._keys:
            self._keys = list(keys)
            self._places = {key: place for place, key in enumerate(self._keys)}
            self.virtual_size = Size(1, len(self._keys) + 1)
        self._cells = cells
        self._cursor = self._places.get(before or "", min(self._cursor, max(0, len(keys) - 1)))
        self._tell_from(before)

    def refresh_changed(self) -> None:
        """Draw lines again that look different from what is on the screen."""
        for y, drawn in list(self._drawn.items()):
            if self._line(y) != drawn:
                self.refresh(Region(0, y, self.size.width, 1))

    def set_sort(self, column: str, descending: bool) -> None:
        """Mark a column as the one that rows are sorted by. The rows are sorted by who shows them."""
        self.sort = (column, descending)
        self.refresh_changed()

    def set_empty(self, text: str) -> None:
        """What is said where there are no rows."""
        self.empty = text
        self.refresh_changed()

    @property
    def cursor_key(self) -> str | None:
        """Key of the row of the cursor; None in an empty grid."""
        return self._keys[self._cursor] if self._cursor < len(self._keys) else None

    @property
    def marked(self) -> tuple[str, ...]:
        """Keys of marked rows, in the order in which they were marked."""
        return tuple(self._marked)

    @property
    def shown_keys(self) -> Sequence[str]:
        """Keys of the rows that are on the screen."""
        top = self.scroll_offset.y
        return self._keys[top : top + max(0, self.size.height - 1)]

    def mark_of(self, key: str) -> str:
        """What stands beside a row: its glyph if it is marked."""
        return self.mark_glyphs.get(key, "*") if key in self._marked else " "

    def move_to(self, place: int) -> None:
        """Bring the cursor to a row, or as near as there is one."""
        before = self.cursor_key
        self._cursor = max(0, min(place, len(self._keys) - 1))
        self._tell_from(before)

    def move_to_key(self, key: str) -> None:
        """Bring the cursor to the row of that key, if there is one."""
        if key in self._places:
            self.move_to(self._places[key])

    def mark(self, keys: Sequence[str]) -> None:
        """Mark these rows and no others. Marks stay while their rows are not shown."""
        self._marked = dict.fromkeys(keys)
        self.refresh_changed()
        self.post_message(self.Marked(self, self.marked))

    def action_move(self, by: int) -> None:
        self.move_to(self._cursor + by)

    def action_page(self, direction: int) -> None:
        self.move_to(self._cursor + direction * max(1, self.size.height - 2))

    def action_edge(self, direction: int) -> None:
        self.move_to(0 if direction < 0 else len(self._keys) - 1)

    def action_select(self) -> None:
        if self.cursor_key is not None:
            self.post_message(self.Selected(self, self.cursor_key))

    def action_mark(self) -> None:
        key = self.cursor_key
        if key is not None:
            kept = [each for each in self._marked if each != key]
            self.mark(kept if key in self._marked else [*kept, key])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Space is somebody else's where rows cannot be marked."""
        return self.can_mark if action == "mark" else True

    def on_click(self, event: Click) -> None:
        """A click on a label, on a row, or on the row of the cursor."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            column = self._painter.column_at(offset.x) if self._painter else None
            if column is not None:
                self.post_message(self.HeaderSelected(self, column.key))
            return
        place = offset.y - 1 + self.scroll_offset.y
        if place == self._cursor:
            self.action_select()
        elif place < len(self._keys):
            self.move_to(place)

    def on_resize(self, event: Resize) -> None:
        self._arrange()
        self._keep_cursor_visible()

    def watch_show_vertical_scrollbar(self) -> None:
        """A scrollbar takes its width from the columns, instead of hiding the last of them."""
        self._arrange()

    def render_line(self, y: int) -> Strip:
        """The labels, a row, a line of the text for an empty grid, or nothing."""
        painter, line = self._painter, self._line(y)
        self._drawn[y] = line
        if painter is None:
            return Strip.blank(self.size.width, self.rich_style)
        if y == 0:
            return painter.header(self.rich_style, self.sort)
        if line.key:
            return painter.row(self.rich_style, line, self._cells(line.key))
        lines = [] if self._keys else self.empty.splitlines()
        return painter.words(self.rich_style, lines[y - 1] if y <= len(lines) else "")

    def _arrange(self) -> None:
        self._painter = Painter.of(
            self.columns,
            self.scrollable_content_region.width,
            self._tone,
            self.app.console,
            has_marks=self.can_mark,
        )
        self._drawn = {y: line for y, line in self._drawn.items() if y < self.size.height}
        self.refresh()

    def _line(self, y: int) -> Line:
        place = self.scroll_offset.y + y - 1
        if y == 0 or self._painter is None:
            return Line("", (self.sort,))
        if not 0 <= place < len(self._keys):
            return Line("", (self.empty if not self._keys else None,))
        key = self._keys[place]
        faces = self._painter.faces(self._cells(key))
        return Line(key, faces, place == self._cursor, self.mark_of(key))

    def _tone(self, name: str) -> Style:
        return self.get_component_rich_style(f"grid--{name}", partial=True)

    def _tell_from(self, before: str | None) -> None:
        """Show where the cursor is, and say so if it was on another row before."""
        self._keep_cursor_visible()
        self.refresh_changed()
        if self.cursor_key is not None and self.cursor_key != before:
            self.post_message(self.Highlighted(self, self.cursor_key))

    def _keep_cursor_visible(self) -> None:
        height = self.size.height - 1
        if height <= 0:
            return
        top = self.scroll_offset.y
        wanted = min(max(top, self._cursor - height + 1), self._cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, immediate=True)
