"""What is shown instead of panes where there is no room for them."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.widgets import Static

from stoker_tui.models.one_line import summary
from stoker_tui.models.session import Session

SMALLEST = (60, 15)
"""Columns and lines that the screens need."""


class TooSmall(Static):
    """How the run is doing, and how large a terminal must be. Covers a screen of class -cramped."""

    DEFAULT_CSS: ClassVar[str] = """
    TooSmall {
        layer: cover; width: 100%; height: 100%; display: none; background: $background;
        text-wrap: nowrap; text-overflow: ellipsis;
    }
    """

    def __init__(self, session: Session) -> None:
        super().__init__(id="too-small")
        self._session = session
        self._shown = ""

    def beat(self) -> None:
        """Look again, where it is seen."""
        width, height = SMALLEST
        line = f"{summary(self._session)}\nneeds {width}x{height}"
        if line != self._shown:
            self._shown = line
            self.update(Text(line))
