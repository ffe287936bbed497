"""`@`: the commands that the cockpit ran, as one would type them, and what they answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from stoker_tui.keys import bind
from stoker_tui.models.actions import Done
from stoker_tui.models.amounts import time_of_day

if TYPE_CHECKING:
    from stoker_tui.app import Cockpit


class CommandLogScreen(ModalScreen[None]):
    """Newest first; below the list what the chosen command answered."""

    CSS_PATH = "command_log.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,at", "dismiss", "Close", "Close the log.", id="log.close"),
        bind("y", "copy", "Copy", "Copy the command.", id="log.copy"),
        bind("j", "move('cursor_down')", "Down", "The one below.", id="log.down", show=False),
        bind("k", "move('cursor_up')", "Up", "The one above.", id="log.up", show=False),
    ]

    def __init__(self, log: Sequence[Done]) -> None:
        super().__init__()
        self._log = list(reversed(log))

    def compose(self) -> ComposeResult:
        """The list, and an answer."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = "Commands run"
            dialog.border_subtitle = "y copies, esc closes"
            if not self._log:
                yield Static("None so far. What a key changes is done by a command, and stands here.")
                return
            yield OptionList(*map(_line, self._log), id="commands")
            with VerticalScroll(id="answer", can_focus=False):
                yield Static(id="message", markup=False)

    def action_copy(self) -> None:
        """Copy the chosen command."""
        if (chosen := self._chosen()) is not None:
            cast("Cockpit", self.app).copy_to_clipboard(chosen.command)

    def action_move(self, action: str) -> None:
        """Along the list."""
        for commands in self.query(OptionList):
            getattr(commands, f"action_{action}")()

    @on(OptionList.OptionHighlighted)
    def _show_answer(self) -> None:
        if (chosen := self._chosen()) is not None:
            self.query_one("#message", Static).update(Text(chosen.message or "It said nothing."))

    def _chosen(self) -> Done | None:
        for commands in self.query(OptionList):
            if commands.highlighted is not None:
                return self._log[commands.highlighted]
        return None


def _line(done: Done) -> Text:
    text = Text(f"{time_of_day(done.t)}  ", no_wrap=True, overflow="ellipsis")
    text.append("ok      " if done.ok else f"exit {done.exit_code:<3}", "" if done.ok else "bold")
    text.append(done.command)
    return text
