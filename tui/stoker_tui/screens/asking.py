"""Small questions over a screen: a text, or one of several choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from stoker_tui.keys import bind
from stoker_tui.widgets.pick_list import PickList

_MOST_SHOWN = 200


class AskScreen(ModalScreen[str | None]):
    """Asks for a text. Dismissed with it, or with None by `esc`."""

    CSS_PATH = "asking.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "leave", "Leave", "Leave all as it is.", id="ask.leave"),
    ]

    def __init__(
        self,
        title: str,
        *,
        value: str = "",
        note: str = "",
        refuse: Callable[[str], str] | None = None,
    ) -> None:
        """`refuse` says in words why a text will not do; empty where it will."""
        super().__init__()
        self._title = title
        self._value = value
        self._note = note
        self._refuse = refuse

    def compose(self) -> ComposeResult:
        """Title, input, note."""
        with Vertical(id="dialog") as dialog:
            dialog.border_subtitle = "enter takes it, esc leaves"
            yield Static(self._title, id="title", markup=False)
            yield Input(self._value, compact=True, select_on_focus=False)
            yield Static(self._note, id="note", markup=False)

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer, unless the text is refused."""
        event.stop()
        why = self._refuse(event.value) if self._refuse else ""
        if why:
            self.query_one("#note", Static).update(Content.styled(why, "$text-error"))
        else:
            self.dismiss(event.value)


@dataclass(frozen=True)
class Choice:
    """One of several."""

    id: str
    text: str
    note: str = ""
    """What is said beside it."""
    group: str = ""
    """What kind of choice it is; said before the note."""


class ChooseScreen(ModalScreen[str | None]):
    """Asks for one of several; what is typed narrows them. Dismissed with an id, or with None."""

    CSS_PATH = "asking.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "leave", "Leave", "Leave all as it is.", id="choose.leave"),
        bind("up", "step(-1)", "Up", "The choice above.", id="choose.up", show=False),
        bind("down", "step(1)", "Down", "The choice below.", id="choose.down", show=False),
        bind("pageup", "step(-10)", "Page up", "Ten choices up.", id="choose.pageup", show=False),
        bind("pagedown", "step(10)", "Page down", "Ten choices down.", id="choose.pagedown", show=False),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], *, current: str = "") -> None:
        super().__init__()
        self._title = title
        self._choices = tuple(choices)
        self._current = current
        self._shown: list[Choice] = []

    def compose(self) -> ComposeResult:
        """Title, the text that narrows, the list."""
        with Vertical(id="dialog") as dialog:
            dialog.border_subtitle = "enter takes it, esc leaves"
            yield Static(self._title, id="title", markup=False)
            yield Input(placeholder="type to narrow", compact=True)
            yield PickList(is_led=True)

    def on_mount(self) -> None:
        """Show all, the current one under the cursor."""
        self._list("")
        places = [place for place, choice in enumerate(self._shown) if choice.id == self._current]
        self.query_one(OptionList).highlighted = places[0] if places else 0

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)

    def action_step(self, by: int) -> None:
        """Move the cursor."""
        options = self.query_one(OptionList)
        if self._shown:
            options.highlighted = max(0, min((options.highlighted or 0) + by, len(self._shown) - 1))

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        event.stop()
        self._list(event.value)

    @on(Input.Submitted)
    def _enter(self, event: Input.Submitted) -> None:
        event.stop()
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._shown):
            self.dismiss(self._shown[place].id)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self._shown[event.option_index].id)

    def _list(self, text: str) -> None:
        words = text.lower().split()
        found = [each for each in self._choices if _holds(each, words)]
        self._shown = sorted(found, key=lambda each: _distance(each, text.lower()))[:_MOST_SHOWN]
        width = max((len(each.text) for each in self._shown), default=0)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(_line(each, width)) for each in self._shown])
        if not self._shown:
            options.add_option(Option("Nothing has these words.", disabled=True))
        options.highlighted = 0 if self._shown else None


def _holds(choice: Choice, words: Sequence[str]) -> bool:
    text = f"{choice.group} {choice.id} {choice.text} {choice.note}".lower()
    return all(word in text for word in words)


def _distance(choice: Choice, text: str) -> int:
    """What is named so comes first, then what begins so, then the rest as it was."""
    names = (choice.id.lower(), choice.text.lower())
    if text in names:
        return 0
    return 1 if any(name.startswith(text) for name in names) else 2


def _line(choice: Choice, width: int) -> Content:
    note = choice.note if not choice.group else f"{choice.group}  {choice.note}"
    return Content.assemble(choice.text.ljust(width), (f"  {note}".rstrip(), "$text-muted"))
