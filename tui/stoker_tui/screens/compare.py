"""Runs side by side: how they went, and where their recipes differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer

from stoker_tui.keys import bind
from stoker_tui.models.comparison import Comparison, as_text
from stoker_tui.models.styled import Tone, cut, foreign
from stoker_tui.widgets.columns import Cell, Column
from stoker_tui.widgets.grid import Grid

_SETTINGS = "settings that differ"
_LEAST_WIDTH = 14


class CompareScreen(ModalScreen[None]):
    """A table with a column for each run; those that were marked last go first where it is narrow."""

    CSS: ClassVar[str] = """
    CompareScreen { align: center middle; }
    CompareScreen > #compare { width: 96%; height: 90%; border: round $primary; background: $surface;
        border-title-color: $text; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "close", "Back", "Back to the runs.", id="compare.close"),
        bind("c,d", "close", "Back", "Back to the runs.", id="compare.back", show=False),
        bind("y", "copy", "Copy", "Copy the table, with tabs between its columns.", id="compare.copy"),
    ]

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        lines: Sequence[Comparison],
        *,
        empty: str = "",
    ) -> None:
        """`names` of the runs; each line has a value for each of them."""
        super().__init__()
        self._title = title
        self._names = tuple(names)
        self._lines = {str(place): line for place, line in enumerate(_divided(lines))}
        self._empty = empty

    def compose(self) -> ComposeResult:
        """The table in a frame."""
        runs = (
            Column(
                f"run-{place}", name, _LEAST_WIDTH, share=1, most=40, priority=place if place > 1 else 0
            )
            for place, name in enumerate(self._names)
        )
        columns = (Column("key", "", 18, share=1, most=34), *runs)
        with Vertical(id="compare") as frame:
            frame.border_title = Text(cut(self._title, 60)).markup
            yield Grid(columns, id="differences", empty=self._empty)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Show the lines."""
        self.query_one(Grid).show(list(self._lines), self._cells)

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """The table as text."""
        lines = [line for line in self._lines.values() if line.values]
        self.app.copy_to_clipboard(as_text(self._names, lines))

    def _cells(self, key: str) -> list[Cell]:
        line = self._lines[key]
        if not line.values:
            return [foreign(line.key, "strong"), *[""] * len(self._names)]
        tone: Tone = "plain" if line.is_setting else "muted"
        return [foreign(line.key, tone), *(foreign(value) for value in line.values)]


def _divided(lines: Sequence[Comparison]) -> list[Comparison]:
    """With a heading before settings that follow something else."""
    found: list[Comparison] = []
    for line in lines:
        if line.is_setting and found and not found[-1].is_setting:
            found += [Comparison(_SETTINGS, (), is_setting=True)]
        found.append(line)
    return found
