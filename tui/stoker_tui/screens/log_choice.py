"""Chooses which logs are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from stoker_tui.keys import bind
from stoker_tui.widgets.pick_list import PickList


class LogChoiceScreen(ModalScreen[tuple[str, ...] | None]):
    """Asks for some of the logs. Dismissed with their names, or with None."""

    CSS_PATH = "log_choice.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("space", "mark", "Mark", "Mark the log, or take the mark off.", id="log_choice.mark"),
        bind("a", "all", "All", "Mark all, or none.", id="log_choice.all"),
        bind("escape", "leave", "Leave", "Leave all as it is.", id="log_choice.leave"),
    ]

    def __init__(self, names: Sequence[str], chosen: Sequence[str], notes: Mapping[str, str]) -> None:
        """`chosen` are marked at first; `notes` are said beside names."""
        super().__init__()
        self._names = tuple(names)
        self._marked = set(chosen)
        self._notes = notes

    def compose(self) -> ComposeResult:
        """Title, list, keys."""
        with Vertical(id="dialog"):
            yield Static("Logs to show", id="title", markup=False)
            yield PickList()
            yield Static("space marks  a all  enter shows  esc leaves", id="note", markup=False)

    def on_mount(self) -> None:
        """The cursor on the first that is marked."""
        self._show(next((name for name in self._names if name in self._marked), None))

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        """Answer with what is marked; with nothing marked, with the log under the cursor."""
        event.stop()
        marked = tuple(name for name in self._names if name in self._marked)
        self.dismiss(marked or (event.option_id or self._names[0],))

    def action_mark(self) -> None:
        """Mark the log under the cursor, or not."""
        current = self.query_one(PickList).current
        if current is not None:
            self._marked ^= {current}
            self._show()

    def action_all(self) -> None:
        """Mark all; if all are, none."""
        self._marked = set() if len(self._marked) == len(self._names) else set(self._names)
        self._show()

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)

    def _show(self, current: str | None = None) -> None:
        self.query_one(PickList).show([(name, self._line(name)) for name in self._names], current)

    def _line(self, name: str) -> Content:
        mark = "x" if name in self._marked else " "
        return Content(f"[{mark}] {name}  {self._notes.get(name, '')}".rstrip())
