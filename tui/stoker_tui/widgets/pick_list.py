"""An option list with the cockpit's keys, which keeps its cursor when its options change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual.binding import BindingType
from textual.content import Content
from textual.strip import Strip
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from stoker_tui.keys import bind
from stoker_tui.widgets.pointer import pointer_of


class PickList(OptionList):
    """Options with ids; `j` and `k` are arrows."""

    DEFAULT_CSS: ClassVar[str] = """
    PickList { border: none; padding: 0; background: transparent; }
    PickList:focus { border: none; background-tint: transparent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter", "select", "Open", "Open the line, or go to what it is about.", id="pick.open"),
        bind("j", "cursor_down", "Down", "The line below.", id="pick.down", show=False),
        bind("k", "cursor_up", "Up", "The line above.", id="pick.up", show=False),
    ]

    def __init__(self, *, id: str | None = None, is_led: bool = False) -> None:
        """`is_led`: its keys come from another widget, which has the focus in its place."""
        super().__init__(id=id, markup=False, compact=True)
        self.can_focus = not is_led
        self._shown: tuple[tuple[str | None, Content], ...] = ()

    @property
    def current(self) -> str | None:
        """The id of the option under the cursor."""
        place = self.highlighted
        return None if place is None else self.get_option_at_index(place).id

    def render_line(self, y: int) -> Strip:
        """A line, with a pointer before the option under the cursor: colour alone does not show it."""
        strip = super().render_line(y)
        at = self.scroll_offset.y + y
        if at >= len(self._lines) or self._lines[at] != (self.highlighted, 0):
            pointer = " "
        else:
            pointer = pointer_of(self.has_focus or not self.can_focus)
        style = next((segment.style for segment in strip), None)
        return Strip([Segment(pointer, style), *strip])

    def _get_left_gutter_width(self) -> int:
        return 1

    def show(self, options: Sequence[tuple[str | None, Content]], current: str | None = None) -> None:
        """Show these, by id and text; an option without an id is a heading.

        The cursor goes to `current`, or stays on the option that it is on.
        """
        wanted = self.current if current is None else current
        if tuple(options) != self._shown:
            same = [id for id, _ in options] == [id for id, _ in self._shown]
            self._replace(options, same)
        places = [place for place, (id, _) in enumerate(options) if id is not None]
        at = [place for place in places if options[place][0] == wanted]
        place = next(iter(at or places), None)
        if place != self.highlighted:
            self.highlighted = place

    def _replace(self, options: Sequence[tuple[str | None, Content]], same: bool) -> None:
        if same:
            for place, (_, text) in enumerate(options):
                if text != self._shown[place][1]:
                    self.replace_option_prompt_at_index(place, text)
        else:
            self.clear_options()
            self.add_options([Option(text, id=id, disabled=id is None) for id, text in options])
        self._shown = tuple(options)
