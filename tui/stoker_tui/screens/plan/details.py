"""Beside the table: memory bars and words of one plan; of a run, planned against measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from stoker_tui.keys import bind
from stoker_tui.models.plan_view import PlanView
from stoker_tui.models.run_plan import Compared, RunPlan
from stoker_tui.widgets.bars import MemoryBars
from stoker_tui.widgets.plan_text import plan_lines, sentences


class Details(VerticalScroll, can_focus=True):
    """A head, memory bars, words."""

    DEFAULT_CSS: ClassVar[str] = """
    Details Static { height: auto; }
    Details MemoryBars { margin: 0 0 1 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("j", "scroll_down", "Down", "A line down.", id="details.down", show=False),
        bind("k", "scroll_up", "Up", "A line up.", id="details.up", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Head, bars, words."""
        yield Static("", id="head", markup=False)
        yield MemoryBars()
        yield Static("", id="words", markup=False)

    def show_plan(self, head: str, plan: PlanView | None, note: str = "") -> None:
        """A plan under a head; `note` says why there is none, or what is waited for."""
        if self._shown != (head, plan, note):
            self._shown = (head, plan, note)
            words = [*plan_lines(plan), *self._sentences(plan)] if plan else []
            self._fill(head, plan, words, note)

    def show_run(self, head: str, run: RunPlan) -> None:
        """What a run was to need and take, and what it needed and took."""
        if self._shown != (head, run):
            self._shown = (head, run)
            words = [*compared_lines(run.rows), *(Content(note) for note in run.notes)]
            if run.view is not None:
                words += [Content(""), *plan_lines(run.view), *self._sentences(run.view)]
            self._fill(head, run.view, words, run.problem)

    def _sentences(self, plan: PlanView) -> Iterator[Content]:
        yield from sentences("findings", plan.findings)
        yield from sentences("assumptions", plan.assumptions)

    def _fill(self, head: str, plan: PlanView | None, words: list[Content], note: str) -> None:
        top = Content.styled(head, "bold")
        if note:
            top = Content.assemble(top, "\n", (note, "$text-warning"))
        self.query_one("#head", Static).update(top)
        self.query_one(MemoryBars).show(plan)
        self.query_one(MemoryBars).display = plan is not None
        self.query_one("#words", Static).update(Content("\n").join(words))
        self.scroll_home(animate=False)


def compared_lines(rows: tuple[Compared, ...]) -> Iterator[Content]:
    """A table of quantities, planned and measured."""
    if not rows:
        return
    cells = [("", "planned", "measured", "")]
    cells += [(each.name, each.predicted, each.measured, each.words) for each in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    for place, row in enumerate(cells):
        name, planned, measured, words = (
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        line = (
            f"{name}  {planned.strip():>{widths[1]}}  {measured.strip():>{widths[2]}}  {words}".rstrip()
        )
        yield Content.styled(line, "$text-muted" if place == 0 else "")
