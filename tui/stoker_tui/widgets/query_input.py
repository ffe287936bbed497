"""The line where a query is typed: keys are completed by tab."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from stoker.run.query import complete
from stoker_tui.keys import bind


class QueryInput(Input):
    """One line. Posts `Input.Changed` as it is typed, `Left` when the user is done with it."""

    DEFAULT_CSS: ClassVar[str] = """
    QueryInput { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    QueryInput:focus { border: none; background: $boost; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "tab", "complete", "Complete", "Complete the key; again: another one.", id="query.complete"
        ),
        bind("enter", "leave(True)", "Done", "Keep the filter and go to the table.", id="query.done"),
        bind(
            "escape", "leave(False)", "Clear", "Clear the filter and go to the table.", id="query.clear"
        ),
        bind("down", "leave(True)", "Done", "Go to the table.", id="query.down", show=False),
    ]

    class Left(Message):
        """The table is to have the focus."""

    def __init__(self, *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self._offers: list[str] = []

    def action_complete(self) -> None:
        """The first of the completions, then the next, in a ring."""
        if self.value in self._offers:
            place = (self._offers.index(self.value) + 1) % len(self._offers)
        else:
            self._offers, place = complete(self.value), 0
        if self._offers:
            self.value = self._offers[place]
            self.cursor_position = len(self.value)

    def action_leave(self, is_kept: bool) -> None:
        """Done; the text stays or goes."""
        if not is_kept:
            self.value = ""
        self.post_message(self.Left())
