"""`:`: a line at the bottom to type commands into, completed while one types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from stoker_tui.keys import bind
from stoker_tui.models.commands import Candidate, Command, complete, find, split

_MOST_SHOWN = 200


class CommandLine(ModalScreen[str]):
    """Dismissed with what was typed; empty for nothing."""

    CSS_PATH = "command_line.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "dismiss('')", "Leave", "Leave the command line.", id="command.leave"),
        bind(
            "tab",
            "complete",
            "Complete",
            "Take over what is marked.",
            id="command.complete",
            priority=True,
        ),
        bind(
            "up", "move(-1)", "Up", "The one above; the command before.", id="command.up", priority=True
        ),
        bind(
            "down",
            "move(1)",
            "Down",
            "The one below; the next command.",
            id="command.down",
            priority=True,
        ),
    ]

    def __init__(
        self, commands: Sequence[Command], folder: Path, themes: Sequence[str], history: Sequence[str]
    ) -> None:
        """`folder` holds the runs whose names are offered; `history` is what was typed, latest last."""
        super().__init__()
        self._commands = commands
        self._folder = folder
        self._themes = themes
        self._history = history
        self._back = 0
        self._candidates: list[Candidate] = []

    def compose(self) -> ComposeResult:
        """Candidates above the line."""
        with Vertical(id="dialog"):
            yield OptionList(id="candidates")
            with Horizontal(id="line"):
                yield Static(":", id="prompt")
                yield Input(id="typed", compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        """Offer everything."""
        self.query_one("#candidates").can_focus = False
        self.query_one(Input).focus()
        self._offer("")

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        self._offer(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        text = event.value.strip()
        name, argument = split(text)
        chosen = self._chosen()
        if chosen is not None and not argument and find(name, self._commands) is None:
            text = chosen.text.strip()
        self.dismiss(text)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self._type(self._candidates[event.option_index].text)

    def action_complete(self) -> None:
        """What is marked becomes what was typed."""
        if (chosen := self._chosen()) is not None:
            self._type(chosen.text)

    def action_move(self, by: int) -> None:
        """Among the candidates; on an empty line, and after that, through what was typed before."""
        typed = self.query_one(Input)
        if self._history and (self._back or (by < 0 and not typed.value)):
            self._back = min(len(self._history), max(0, self._back - by))
            self._type(self._history[-self._back] if self._back else "")
            return
        candidates = self.query_one(OptionList)
        if self._candidates:
            candidates.highlighted = ((candidates.highlighted or 0) + by) % len(self._candidates)

    def _type(self, text: str) -> None:
        typed = self.query_one(Input)
        typed.value = text
        typed.cursor_position = len(text)

    def _offer(self, text: str) -> None:
        found = complete(text, self._commands, self._folder, self._themes)
        self._candidates = found[:_MOST_SHOWN]
        candidates = self.query_one(OptionList)
        candidates.clear_options()
        candidates.add_options([Option(_line(each)) for each in self._candidates])
        candidates.highlighted = 0 if self._candidates else None
        candidates.display = bool(self._candidates)

    def _chosen(self) -> Candidate | None:
        marked = self.query_one(OptionList).highlighted
        return self._candidates[marked] if marked is not None and self._candidates else None


def _line(candidate: Candidate) -> Text:
    text = Text(f"{candidate.text:<20}", no_wrap=True, overflow="ellipsis")
    return text.append(f" {candidate.about}", "dim") if candidate.about else text
