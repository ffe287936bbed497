"""Asks before something is changed, and shows the command that would run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from stoker_tui.keys import bind


class ConfirmScreen(ModalScreen[bool]):
    """A question; dismissed with True for yes, False for no.

    With `type_name`, yes needs that name to be typed: for what cannot be taken back.
    """

    CSS_PATH = "confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("y", "answer(True)", "Yes", "Run the command.", id="confirm.yes"),
        bind("n", "answer(False)", "No", "Leave all as it is.", id="confirm.no"),
        bind("escape", "answer(False)", "No", "Leave all as it is.", id="confirm.leave"),
    ]

    def __init__(
        self, title: str, lines: Sequence[str] = (), *, command: str = "", type_name: str = ""
    ) -> None:
        super().__init__()
        self._title = title
        self._lines = tuple(lines)
        self._command = command
        self._type_name = type_name

    def compose(self) -> ComposeResult:
        """Title, lines, command; then the name to be typed, or yes and no."""
        with VerticalScroll(id="dialog", can_focus=False):
            yield Static(self._title, id="title", markup=False)
            yield Static("\n".join(self._lines), id="lines", markup=False)
            yield Static(f"$ {self._command}" if self._command else "", id="command", markup=False)
            if self._type_name:
                yield Static(f"Type {self._type_name} and press enter; esc leaves.", markup=False)
                yield Input(placeholder=self._type_name, id="name")
            else:
                with Horizontal(id="buttons"):
                    yield Button("Yes (y, enter)", id="yes", variant="primary", compact=True)
                    yield Button("No (n, esc)", id="no", compact=True)

    def action_answer(self, answer: bool) -> None:
        """Yes or no; a yes where the name must be typed does not count."""
        if answer and self._type_name:
            return
        self.dismiss(answer)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() == self._type_name:
            self.dismiss(True)
            return
        event.input.clear()
        self.notify(f"That is not {self._type_name}.", severity="warning", markup=False)
