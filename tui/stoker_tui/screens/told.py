"""A text over a screen, to be read and left."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from stoker_tui.keys import bind


class ToldScreen(ModalScreen[None]):
    """Shows a text, whole; `show` replaces it, as when it was still being made."""

    CSS_PATH = "told.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,enter", "leave", "Back", "Back to the screen.", id="told.leave"),
        bind("j", "scroll(1)", "Down", "A line down.", id="told.down", show=False),
        bind("k", "scroll(-1)", "Up", "A line up.", id="told.up", show=False),
    ]

    def __init__(self, title: str, text: str | Content, *, legend: str = "") -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._legend = f"{legend}   esc back".strip()

    def compose(self) -> ComposeResult:
        """Title, text, legend."""
        with Vertical(id="dialog"):
            yield Static(self._title, id="title", markup=False)
            with VerticalScroll(id="text"):
                yield Static(self._text, markup=False)
            yield Static(self._legend, id="legend", markup=False)

    def on_mount(self) -> None:
        """Arrow keys scroll the text."""
        self.query_one("#text").focus()

    def show(self, text: str | Content) -> None:
        """Replace the text, if it is still read."""
        if self.is_attached:
            self.query_one("#text Static", Static).update(text)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        """Scroll the text."""
        self.query_one("#text").scroll_relative(y=by, animate=False)
