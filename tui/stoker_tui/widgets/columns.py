"""Columns of a table of text: which are shown, how wide, and cells made to fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from stoker_tui.models.styled import Piece

Cell = str | Text | Piece
"""Never parsed as markup. The style of a `Text` may be a tone of the grid, as `success`."""


@dataclass(frozen=True)
class Column:
    """One column of a grid."""

    key: str
    label: str
    width: int
    """In cells; the least width where the column has a share."""
    share: int = 0
    """Its part of the width that is left over."""
    most: int = 0
    """The greatest width of a column with a share; 0: no limit."""
    priority: int = 0
    """The column with the greatest number goes first where there is no room; 0 stays."""
    right: bool = False
    """Whether cells stand at the right, as numbers should."""


def fit(columns: Sequence[Column], width: int, gap: int) -> list[tuple[int, int]]:
    """Columns that are shown in so many cells: their indexes, and how wide each is."""
    kept = list(range(len(columns)))
    while len(kept) > 1 and _needed(columns, kept, gap) > width:
        least = max(kept, key=lambda index: (columns[index].priority, index))
        if not columns[least].priority:
            break
        kept.remove(least)
    widths = {index: columns[index].width for index in kept}
    _share_out(columns, widths, width - _needed(columns, kept, gap))
    return list(widths.items())


def _needed(columns: Sequence[Column], kept: list[int], gap: int) -> int:
    return sum(columns[index].width for index in kept) + gap * (len(kept) - 1)


def _share_out(columns: Sequence[Column], widths: dict[int, int], spare: int) -> None:
    """Give what is left over to columns with a share, none of them more than its most."""
    takers = [index for index in widths if columns[index].share]
    while spare > 0 and takers:
        total = sum(columns[index].share for index in takers)
        given = 0
        for index in list(takers):
            column = columns[index]
            part = max(1, spare * column.share // total)
            if column.most and widths[index] + part >= column.most:
                part = max(0, column.most - widths[index])
                takers.remove(index)
            part = min(part, spare - given)
            widths[index] += part
            given += part
        spare -= given


def fitted(cell: Cell, width: int, *, right: bool = False) -> Text:
    """A cell in exactly so many cells, on one line; shortened with an ellipsis."""
    text = _text(cell)
    if not text.plain.isprintable():
        text.plain = _printable(text.plain)
    if cell_len(text.plain) > width:
        text.truncate(max(0, width - 1))
        text.append("…")
    blank = " " * (width - cell_len(text.plain))
    if right:
        text.pad_left(len(blank))
    else:
        text.append(blank)
    return text


def _text(cell: Cell) -> Text:
    if isinstance(cell, Text):
        return cell.copy()
    return Text(cell) if isinstance(cell, str) else Text(cell.text, cell.tone)


def _printable(text: str) -> str:
    """Without line ends and control characters, each of them a blank."""
    return "".join(character if character.isprintable() else " " for character in text)
