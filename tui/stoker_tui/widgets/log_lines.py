"""A row of a log as lines of the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.cells import chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from stoker.run.log_lines import Level, time_words
from stoker.run.log_order import REMARK
from stoker.run.log_query import LogQuery
from stoker_tui.models.log_rows import Row

Styles = Callable[[str], Style]

_MARKS: dict[Level | None, str] = {"warning": "!", "error": "✗", "critical": "✗"}
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Layout:
    """How rows are written."""

    width: int
    names: tuple[str, ...] = ()
    """Of the logs, in a text of several; none are shown where there is one."""
    failing: int | None = None
    """The log that is marked."""
    wrap: bool = False
    times: bool = False
    query: LogQuery | None = None

    @property
    def label_width(self) -> int:
        return max(map(len, self.names)) + 3 if len(self.names) > 1 else 0

    def height(self, row: Row) -> int:
        """Screen lines that a row takes."""
        return len(self._bodies(self._body(row))) if self.wrap else 1

    def strips(self, row: Row, styles: Styles, *, has_cursor: bool) -> list[Strip]:
        """The row's lines, each exactly as wide as the pane. `styles` knows roles as the widget's."""
        head, body = self._head(row, styles, has_cursor), self._body(row)
        role = "remark" if row.line.log == REMARK else row.line.level or "plain"
        blank = [Segment(" " * self._head_width(row))]
        under = styles("cursor") if has_cursor else Style.null()
        lines: list[Strip] = []
        offset = 0
        for part in self._bodies(body):
            segments = self._painted(part, body, offset, styles(role), styles("match"))
            offset += len(part)
            line = Strip([*(blank if lines else head), *segments])
            lines.append(fitted(line, self.width).apply_style(under))
        return lines

    def label(self, row: Row) -> str:
        """Whose line it is: `r3`, `r*` for all, `r0+2` for some."""
        if row.line.log == REMARK:
            return ""
        first = self.names[row.line.log]
        if len(row.logs) == len(self.names):
            return "r*"
        return f"{first}+{len(row.logs) - 1}" if len(row.logs) > 1 else first

    def _head(self, row: Row, styles: Styles, has_cursor: bool) -> list[Segment]:
        head = [Segment("▌" if has_cursor else " ", styles("pointer"))]
        if self.times:
            head.append(Segment(f"{time_words(row.line.t)} ", styles("time")))
        if self.label_width:
            is_failing = self.failing is not None and self.failing in row.logs
            head.append(Segment("✗" if is_failing else " ", styles("error")))
            label = self.label(row).ljust(self.label_width - 1)
            head.append(Segment(label, styles("failing" if is_failing else "label")))
        if row.line.log != REMARK:
            mark = _MARKS.get(row.line.level, " ")
            head.append(Segment(f"{mark} ", styles(row.line.level or "plain")))
        return head

    def _head_width(self, row: Row) -> int:
        mark = 0 if row.line.log == REMARK else 2
        return 1 + 9 * self.times + self.label_width + mark

    def _body(self, row: Row) -> str:
        if row.line.log == REMARK:
            return f"── {row.line.text}".replace("\n", " ")
        return f"{row.line.text}  ({row.num_lines:,} identical)" if row.num_lines > 1 else row.line.text

    def _bodies(self, body: str) -> list[str]:
        room = max(8, self.width - 3 - 9 * self.times - self.label_width)
        if not self.wrap or (body.isascii() and len(body) <= room):
            return [body]
        if body.isascii():
            return [body[start : start + room] for start in range(0, len(body), room)]
        return chop_cells(body, room) or [""]

    def _painted(
        self, part: str, body: str, offset: int, style: Style, found: Style
    ) -> Iterator[Segment]:
        """A part of the body, which begins at `offset`, with what is searched for marked."""
        spans = [] if self.query is None else self.query.spans(body)
        position = 0
        for start, end in spans:
            first, last = max(position, start - offset), min(len(part), end - offset)
            if first < last:
                yield Segment(part[position:first], style)
                yield Segment(part[first:last], style + found)
                position = last
        yield Segment(part[position:], style)


def fitted(line: Strip, width: int) -> Strip:
    """A line in exactly so many cells."""
    if line.cell_length > width:
        line = Strip([*line.crop(0, max(0, width - 1)), Segment(_ELLIPSIS)])
    return line.adjust_cell_length(width)
