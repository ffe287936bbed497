"""Bars of memory against what a GPU has: one for each component, each beginning where the last ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.content import Content
from textual.widget import Widget

from stoker.run.lines import format_bytes
from stoker_tui.models.plan_view import PlanView

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL, _RULE, _EMPTY = "█", "│", "·"
_NAME_WIDTH = 15
_SIZE_WIDTH = 9
_LEAST_BAR = 4


def bar_between(begin: float, end: float, width: int) -> str:
    """A bar from `begin` to `end`, shares of `width` cells; at least a sliver where `end` is more."""
    first = min(int(begin * width), width - 1)
    eighths = max(round((end * width - first) * 8), 1 if end > begin else 0)
    whole, rest = divmod(min(eighths, (width - first) * 8), 8)
    return " " * first + _FULL * whole + (_EIGHTHS[rest] if rest else "")


def total_bar(plan: PlanView, width: int) -> str:
    """All of it in one bar, with a rule where the GPU ends if it ends before the bar does."""
    scale = max(plan.total, plan.capacity)
    bar = bar_between(0, plan.total / scale, width).ljust(width, _EMPTY)
    if plan.fits or plan.total <= plan.capacity:
        return bar
    edge = min(int(plan.capacity / scale * width), width - 1)
    return bar[:edge] + _RULE + bar[edge + 1 :]


def memory_lines(plan: PlanView, width: int) -> Iterator[Content]:
    """The verdict, the sum as a bar, then a line for each component; `width` cells each."""
    yield verdict(plan)
    yield Content.styled(total_bar(plan, width), _tone(plan))
    room = width - _NAME_WIDTH - _SIZE_WIDTH - 1
    scale, so_far = max(plan.total, plan.capacity), 0.0
    for each in plan.components:
        begin, so_far = so_far, so_far + each.size
        bar = bar_between(begin / scale, so_far / scale, room) if room >= _LEAST_BAR else ""
        yield Content.assemble(_row(each.name, each.size), (f" {bar}".rstrip(), _tone(plan)))
    free = plan.capacity - plan.total
    if free >= 0:
        yield Content.styled(_row("free", free), "$text-muted")
    else:
        yield Content.styled(_row("too much", -free), "bold $text-error")


def verdict(plan: PlanView) -> Content:
    """`FITS 42.9 GB of 84.9 GB, 51%`, on one line."""
    style = "bold $text-success" if plan.fits else "bold $text-error"
    share = f", {plan.total / plan.capacity:.0%}" if plan.capacity else ""
    return Content.assemble((plan.verdict, style), f" {plan.memory}{share}")


def _tone(plan: PlanView) -> str:
    return "$text-primary" if plan.fits else "$text-error"


def _row(name: str, size: float) -> str:
    return f"{name:{_NAME_WIDTH}}{format_bytes(size):>{_SIZE_WIDTH}}"


class MemoryBars(Widget):
    """What one GPU holds at the peak. `show` brings another plan."""

    DEFAULT_CSS: ClassVar[str] = "MemoryBars { height: auto; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._plan: PlanView | None = None

    def show(self, plan: PlanView | None) -> None:
        """Show this plan, or nothing."""
        if plan != self._plan:
            self._plan = plan
            self.refresh(layout=True)

    def render(self) -> Content:
        """All lines."""
        if self._plan is None:
            return Content("")
        width = max(self.content_size.width, _NAME_WIDTH + _SIZE_WIDTH)
        return Content("\n").join(memory_lines(self._plan, width))
