"""The frame around a chart: title, latest value, legend, hints above; a readout and what x is below."""

from __future__ import annotations

from collections.abc import Sequence

from stoker_tui.models.chart_axes import legend_cells
from stoker_tui.models.chart_layout import Cell
from stoker_tui.models.chart_picture import Row, Run, runs_of
from stoker_tui.models.chart_view import ChartView

_LINES = ("╭", "─", "╮", "│", "╰", "╯")
_LEAST_TITLE = 6
"""Characters of a title that tell which chart it is."""
_PLAIN_LINES = ("+", "-", "+", "|", "+", "+")


class Frame:
    """Four lines around a chart of `width` characters, frame included."""

    def __init__(self, view: ChartView, width: int, plain: bool) -> None:
        self._width = width
        self._lines = _PLAIN_LINES if plain else _LINES
        self._heading = _heading(view, width - 6, "~" if plain else "…")
        self._hints = _words(("note", _hints(view)))
        self._legend = _legend(view, plain)
        self._below = _words(("note", view.x_label))
        self.has_legend = bool(self._legend) and self._has_room(self._heading, self._both())
        """Whether the legend is in the frame, so that the chart needs none."""

    def around(self, rows: Sequence[Row], readout: str) -> list[Row]:
        """The rows within the frame."""
        left, _, right, side, bottom_left, bottom_right = self._lines
        tail = self._both() if self.has_legend else self._hints
        edge = Run(side, "border")
        return [
            self._edge(left, right, self._heading, tail),
            *((edge, *row, edge) for row in rows),
            self._edge(bottom_left, bottom_right, _words(("value", readout)), self._below),
        ]

    def _both(self) -> list[Cell]:
        """Legend and hints, with a bit of the frame between them."""
        between = _words(("border", self._lines[1])) if self._hints else []
        return [*self._legend, *between, *self._hints]

    def _edge(self, left: str, right: str, head: Sequence[Cell], tail: Sequence[Cell]) -> Row:
        """A horizontal line with words in it: cut at its left, all or nothing at its right."""
        line = (self._lines[1], "border")
        space = [(" ", "border")]
        head = [*head[: self._width - 6], *space] if head else []
        tail = [*tail, *space] if tail and self._has_room(head, tail) else []
        middle = [line] * (self._width - 4 - len(head) - len(tail))
        cells = [(left, "border"), line, *head, *middle, *tail, line, (right, "border")]
        return runs_of(cells, self._width)

    def _has_room(self, head: Sequence[Cell], tail: Sequence[Cell]) -> bool:
        return len(head) + len(tail) + 7 <= self._width


def _words(*words: tuple[str, str]) -> list[Cell]:
    """Cells of (role, word) pairs, each word after a space."""
    return [(letter, role) for role, word in words if word for letter in f" {word}"]


def _heading(view: ChartView, room: int, ellipsis: str) -> list[Cell]:
    """Title and latest value; the title is shortened, the value goes: part of it were another number."""
    value = _words(("value", view.latest))
    title = view.title[: max(0, room - 1)]
    spare = room - 1 - len(value)
    if spare < len(title):
        if spare < _LEAST_TITLE:
            return _words(("title", title))
        title = f"{title[: spare - 1]}{ellipsis}"
    return [*_words(("title", title)), *value]


def _legend(view: ChartView, plain: bool) -> list[Cell]:
    """A space, and all curves by name; nothing for one curve."""
    if len(view.curves) < 2:
        return []
    everything = legend_cells(view, 1_000_000, plain)
    while everything and everything[-1][0] == " ":
        everything.pop()
    return [(" ", "border"), *everything]


def _hints(view: ChartView) -> str:
    """How the view departs from plain sight."""
    smoothed = f"smoothed {view.smoothing:g}"
    named = ((view.log, "log"), (view.smoothing > 0, smoothed), (view.x_range is not None, "zoom"))
    return " ".join(word for is_on, word in named if is_on)
