"""How lines of a grid are drawn: labels, rows, tones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from rich.console import Console
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from stoker_tui.widgets.columns import Cell, Column, fit, fitted

COLOURS = ("success", "warning", "error", "muted", "accent", "primary")
TONES = (*COLOURS, "bold")
"""Names of styles that a cell's `Text` may have; those of a `Piece` are names for some of them."""
_TONES = {tone: tone for tone in TONES} | {"good": "success", "bad": "error", "strong": "bold"}
_WIDE = 100


@dataclass(frozen=True)
class Line:
    """Everything that a line's look depends on."""

    key: str
    faces: tuple[object, ...] = ()
    is_cursor: bool = False
    mark: str = " "


@dataclass(frozen=True)
class Painter:
    """Draws the lines of a grid of one width."""

    columns: tuple[Column, ...]
    width: int
    tone: Callable[[str], Style]
    """The style of a tone, of `header` or of `cursor`."""
    console: Console
    gutter: int
    """Cells at the left, for the pointer and the mark."""
    gap: int
    layout: tuple[tuple[int, int], ...]
    """Indexes of the columns that are shown, and their widths."""

    @classmethod
    def of(
        cls,
        columns: tuple[Column, ...],
        width: int,
        tone: Callable[[str], Style],
        console: Console,
        *,
        has_marks: bool,
    ) -> Painter:
        """A painter whose columns are fitted to the width."""
        gutter, gap = 3 if has_marks else 2, 1 if width < _WIDE else 2
        layout = tuple(fit(columns, width - gutter, gap))
        return cls(columns, width, tone, console, gutter, gap, layout)

    def column_at(self, x: int) -> Column | None:
        """The column that is shown there."""
        left = self.gutter
        for index, width in self.layout:
            if left <= x < left + width:
                return self.columns[index]
            left += width + self.gap
        return None

    def faces(self, cells: Sequence[Cell]) -> tuple[object, ...]:
        """What the cells that are shown look like, to be compared."""
        return tuple(_face(cells[index]) for index, _ in self.layout)

    def header(self, base: Style, sort: tuple[str, bool] | None) -> Strip:
        """The labels; `sort` names the column that has an arrow, which points downwards if true."""
        parts = [Text(" " * self.gutter)]
        for index, width in self.layout:
            column = self.columns[index]
            arrow = "▲▼"[sort[1]] if sort and sort[0] == column.key else ""
            parts.append(self._cell(column.label + arrow, width, column.right))
        return self._strip(Text.assemble(*parts), base + self.tone("header"))

    def row(self, base: Style, line: Line, cells: Sequence[Cell]) -> Strip:
        """One row. The look of the cursor wins against the tones of its cells."""
        pointer = "▸" if line.is_cursor else " "
        parts = [Text((pointer + line.mark).ljust(self.gutter))]
        for index, width in self.layout:
            parts.append(self._toned(self._cell(cells[index], width, self.columns[index].right)))
        strip = self._strip(Text.assemble(*parts), base)
        return _overlaid(strip, self.tone("cursor")) if line.is_cursor else strip

    def words(self, base: Style, text: str) -> Strip:
        """A line of text in place of rows."""
        return self._strip(Text(" " * self.gutter + text), base + self.tone("muted"))

    def _cell(self, cell: Cell, width: int, right: bool) -> Text:
        text = fitted(cell, width, right=right)
        text.append(" " * self.gap)
        return text

    def _toned(self, text: Text) -> Text:
        text.style = self._resolved(text.style)
        text.spans = [span._replace(style=self._resolved(span.style)) for span in text.spans]
        return text

    def _resolved(self, style: str | Style) -> str | Style:
        if style == "plain":
            return ""
        return self.tone(_TONES[cast("str", style)]) if style in _TONES else style

    def _strip(self, text: Text, base: Style) -> Strip:
        text.end = ""
        strip = Strip(text.render(self.console)).apply_style(base)
        return strip.adjust_cell_length(self.width, base)


def _face(cell: Cell) -> object:
    # Two of rich's texts are equal whatever their style.
    return (cell.plain, cell.style, tuple(cell.spans)) if isinstance(cell, Text) else cell


def _overlaid(strip: Strip, style: Style) -> Strip:
    segments = [segment._replace(style=(segment.style or Style()) + style) for segment in strip]
    return Strip(segments, strip.cell_length)
