"""The line at the top: the six screens, and where we are."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.widgets import Static

from stoker_tui.models.commands import PLACES


class Bar(Static):
    """`1 Runs  2 Compose ...`, the one in front marked by brackets as well as by colour."""

    DEFAULT_CSS: ClassVar[str] = """
    Bar { dock: top; height: 1; background: $panel; color: $foreground; }
    """

    def __init__(self, current: str) -> None:
        super().__init__(id="bar")
        self.current = current
        self.notices: tuple[str, ...] = ()
        """Words at the right: what is unusual about this cockpit."""

    def note(self, *notices: str) -> None:
        """Show these words, and repaint where they are new."""
        if notices != self.notices:
            self.notices = notices
            self.refresh()

    def render(self) -> Text:
        """One line, shortened from its end."""
        text = Text(no_wrap=True, overflow="ellipsis")
        for each in PLACES:
            label = f"{each.key} {each.name.title()}"
            here = each.name == self.current.lower()
            text.append(f"[{label}]" if here else f" {label} ", "bold" if here else "")
        words = " ".join((*self.notices, "? help "))
        room = self.size.width - text.cell_len - len(words)
        if room > 0:
            text.append(" " * room)
            text.append(words, "bold" if self.notices else "")
        return text
