"""A form as lines of keys and values with a cursor, and an input that opens on the line itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input

from stoker_tui.keys import bind
from stoker_tui.models.form_view import Line
from stoker_tui.widgets.pointer import pointer_of

_LEAST_KEY, _WIDEST_KEY = 16, 30
_ORIGIN_WIDTH = 8
_MARK_WIDTH = 3


class FieldList(ScrollView, can_focus=True, inherit_bindings=False):
    """One line a field. The cursor's line is marked by a glyph as well as by colour.

    | Component class | |
    |---|---|
    | `fields--cursor` | the line under the cursor |
    | `fields--heading` | a table's or a row's name |
    | `fields--stated` | a value that the recipe states |
    | `fields--default` | a value that it does not |
    | `fields--origin` | where the value is from |
    | `fields--error`, `fields--warning` | the mark of a problem |
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "fields--cursor",
        "fields--heading",
        "fields--stated",
        "fields--default",
        "fields--origin",
        "fields--error",
        "fields--warning",
    }
    DEFAULT_CSS: ClassVar[str] = """
    FieldList { height: 1fr; scrollbar-size-vertical: 1; }
    FieldList .fields--cursor { background: $block-cursor-blurred-background; }
    FieldList:focus .fields--cursor {
        background: $block-cursor-background;
        color: $block-cursor-foreground;
    }
    FieldList .fields--heading { text-style: bold; }
    FieldList .fields--stated { color: $foreground; text-style: bold; }
    FieldList .fields--default { text-style: dim; }
    FieldList .fields--origin { text-style: dim; }
    FieldList .fields--error { color: $text-error; text-style: bold; }
    FieldList .fields--warning { color: $text-warning; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("up,k", "move(-1)", "Up", "The field above.", id="fields.up", show=False),
        bind("down,j", "move(1)", "Down", "The field below.", id="fields.down", show=False),
        bind("pageup", "page(-1)", "Page up", "A page up.", id="fields.pageup", show=False),
        bind("pagedown", "page(1)", "Page down", "A page down.", id="fields.pagedown", show=False),
        bind("home", "move(-9999)", "First", "The first field.", id="fields.home", show=False),
        bind("end", "move(9999)", "Last", "The last field.", id="fields.end", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another line."""

        line: Line

    class Chosen(Message):
        """The line under the cursor was clicked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()
        self._cursor = 0
        self.is_edited = False

    @property
    def lines(self) -> Sequence[Line]:
        """What is shown."""
        return self._lines

    @property
    def current(self) -> Line | None:
        """The line under the cursor."""
        return self._lines[self._cursor] if self._cursor < len(self._lines) else None

    @property
    def cursor_row(self) -> int:
        """Cells below the top edge at which the cursor's line is shown."""
        return self._cursor - self.scroll_offset.y

    @property
    def value_column(self) -> int:
        """Cells right of the left edge at which values begin."""
        return _MARK_WIDTH + self._key_width() + 1

    def show(self, lines: Sequence[Line], key: str | None = None) -> None:
        """Show these lines, the cursor on `key`, or where it was by its key, else by its place."""
        wanted = key if key is not None else (self.current.key if self.current else "")
        self._lines = tuple(lines)
        places = [place for place, line in enumerate(self._lines) if line.key == wanted]
        self._cursor = places[0] if places else max(min(self._cursor, len(self._lines) - 1), 0)
        self.virtual_size = Size(0, len(self._lines))
        self.refresh()
        self._tell()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.move_to(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by what is visible."""
        self.move_to(self._cursor + by * max(self.size.height - 1, 1))

    def move_to(self, place: int) -> None:
        """Put the cursor there, or as near as lines go."""
        place = max(0, min(place, len(self._lines) - 1))
        if place != self._cursor:
            self._cursor = place
            self.refresh()
            self._tell()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there; where it is already, choose the line."""
        place = event.y + self.scroll_offset.y
        if place == self._cursor:
            self.post_message(self.Chosen())
        self.move_to(place)

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._keep_in_sight()

    def render_line(self, y: int) -> Strip:
        """One field."""
        place = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line, here = self._lines[place], place == self._cursor
        strip = Strip(self._segments(line, here, width))
        base = self.get_component_rich_style("fields--cursor") if here else self.rich_style
        return strip.adjust_cell_length(width, base).apply_style(Style()).crop(0, width)

    def _segments(self, line: Line, here: bool, width: int) -> list[Segment]:
        base = self.get_component_rich_style("fields--cursor") if here else self.rich_style
        pointer = pointer_of(self.has_focus or self.is_edited) if here else " "
        mark, mark_style = self._mark(line, here)
        key_width = self._key_width()
        label = ("  " * line.indent + line.label)[: key_width if not line.is_heading else width]
        if line.is_heading:
            style = base + self._own("fields--heading", here)
            return [
                Segment(pointer, base),
                Segment(mark, base + mark_style),
                Segment(" ", base),
                Segment(label, style),
                Segment(f"  {line.value}" if line.value else "", base),
            ]
        room = width - self.value_column - _ORIGIN_WIDTH - 1
        origin_width = _ORIGIN_WIDTH if room >= 8 else 0
        room = width - self.value_column - (origin_width + 1 if origin_width else 0)
        origin = line.origin if len(line.origin) <= origin_width else "base"
        dim = base + self._own("fields--origin", here)
        own = "fields--stated" if line.origin == "stated" else "fields--default"
        return [
            Segment(pointer, base),
            Segment(mark, base + mark_style),
            Segment(" ", base),
            Segment(label.ljust(key_width + 1), base),
            Segment(_shorten(line.value, room).ljust(room), base + self._own(own, here)),
            Segment(f" {origin:{origin_width}}" if origin_width else "", dim),
        ]

    def _own(self, name: str, here: bool) -> Style:
        """A component's style, without its colour under the cursor, where it might not be seen."""
        style = self.get_component_rich_style(name, partial=True)
        return Style(bold=style.bold) if here else style

    def _mark(self, line: Line, here: bool) -> tuple[str, Style]:
        if not line.problem or here:
            return ("!" if line.problem else " "), Style(bold=True)
        name = f"fields--{line.problem}"
        return "!", self.get_component_rich_style(name, partial=True)

    def _key_width(self) -> int:
        longest = max(
            (len(line.label) + 2 * line.indent for line in self._lines if not line.is_heading), default=0
        )
        most = max(_LEAST_KEY, min(_WIDEST_KEY, self.size.width // 2 - _MARK_WIDTH))
        return max(_LEAST_KEY, min(longest, most))

    def _keep_in_sight(self) -> None:
        height = max(self.size.height, 1)
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, immediate=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, immediate=True)

    def _tell(self) -> None:
        self._keep_in_sight()
        if self.current is not None:
            self.post_message(self.Moved(self.current))


def _shorten(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 2, 0)] + ".."


class ValueInput(Input):
    """The input that opens on a line; `esc` gives up."""

    DEFAULT_CSS: ClassVar[str] = """
    ValueInput { layer: edit; display: none; height: 1; border: none; padding: 0; }
    ValueInput:focus { border: none; background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter", "submit", "Take", "Take what was typed.", id="fields.take"),
        bind("escape", "give_up", "Give up", "Leave the value as it was.", id="fields.give_up"),
    ]

    class GivenUp(Message):
        """Nothing is to change."""

    def action_give_up(self) -> None:
        """Leave without a change."""
        self.post_message(self.GivenUp())


class FieldForm(Container):
    """A `FieldList` with its input."""

    DEFAULT_CSS: ClassVar[str] = """
    FieldForm { layers: base edit; height: 1fr; }
    """

    @dataclass
    class Entered(Message):
        """A value was typed for a key; not yet checked."""

        key: str
        text: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.fields = FieldList(id="fields")
        self._input = ValueInput(select_on_focus=True, compact=True)
        self._key = ""

    @property
    def is_editing(self) -> bool:
        """Whether the input is open."""
        return bool(self._input.display)

    def compose(self) -> ComposeResult:
        """The lines, and the input above them."""
        yield self.fields
        yield self._input

    def edit(self, line: Line, text: str) -> None:
        """Open the input on the cursor's line."""
        self._key = line.key
        self._input.value = text
        column = self.fields.value_column
        self._input.styles.offset = (column, max(self.fields.cursor_row, 0))
        self._input.styles.width = max(self.size.width - column - 1, 8)
        self._input.display = self.fields.is_edited = True
        self._input.focus()

    def close(self) -> None:
        """Back to the lines."""
        self._input.display = self.fields.is_edited = False
        self.screen.set_focus(self.fields)

    def on_value_input_given_up(self, event: ValueInput.GivenUp) -> None:
        """Leave the value."""
        event.stop()
        self.close()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand up what was typed; the input stays open until the value is taken."""
        event.stop()
        self.post_message(self.Entered(self._key, event.value))
