"""Asks for one letter: what to sort by."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from stoker_tui.keys import bind
from stoker_tui.models.runs_view import LETTERS
from stoker_tui.models.styled import Piece, flow, line, plain

_PADDING = 4


class SortScreen(ModalScreen[str]):
    """A line at the bottom; dismissed with a key of queries, or "" if nothing was chosen."""

    CSS: ClassVar[str] = """
    SortScreen { align: center bottom; background: transparent; }
    SortScreen > #letters { width: 100%; height: auto; padding: 0 1; border-top: solid $primary;
        background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            bind(letter, f"choose('{key}')", name, f"Sort by {name}; again: the other way.",
                 id=f"sort.{key}", show=False)
            for letter, (key, name) in LETTERS.items()
        ),
        bind("escape,o", "choose('')", "Back", "Leave the order as it is.", id="sort.leave"),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        """The letters, on as many lines as they take."""
        groups = [line(Piece("sort by", "muted"))]
        groups += [line(Piece(f"{letter} {name}")) for letter, (_, name) in LETTERS.items()]
        lines = flow(groups, max(20, self.app.size.width - _PADDING), "   ")
        yield Static("\n".join(plain(each) for each in lines), id="letters", markup=False)

    def action_choose(self, key: str) -> None:
        """Done."""
        self.dismiss(key)
