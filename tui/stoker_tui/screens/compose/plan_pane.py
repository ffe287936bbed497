"""The live plan beside the form, and the two lines of it on a narrow screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from stoker_tui.keys import bind
from stoker_tui.models.open_recipe import Live
from stoker_tui.widgets.bars import MemoryBars
from stoker_tui.widgets.plan_text import neighbour_lines, plan_lines, sentences, strip_lines


class PlanPane(VerticalScroll, can_focus=True):
    """Memory bars, time, money, neighbours, assumptions and findings."""

    DEFAULT_CSS: ClassVar[str] = """
    PlanPane Static { height: auto; }
    PlanPane MemoryBars.-stale { text-opacity: 50%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("j", "scroll_down", "Down", "A line down.", id="plan_pane.down", show=False),
        bind("k", "scroll_up", "Up", "A line up.", id="plan_pane.up", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._live = Live()

    def compose(self) -> ComposeResult:
        """How fresh it is, bars, words."""
        yield Static("", id="plan-problem", markup=False)
        yield MemoryBars()
        yield Static("", id="plan-words", markup=False)

    def show(self, live: Live) -> None:
        """Bring what is shown up to date."""
        if live == self._live:
            return
        self._live = live
        self.query_one("#plan-problem", Static).update(Content.styled(live.problem, "$text-warning"))
        self.query_one("#plan-problem").display = bool(live.problem)
        self.query_one(MemoryBars).show(live.plan)
        self.query_one(MemoryBars).set_class(bool(live.problem), "-stale")
        self.query_one("#plan-words", Static).update(Content("\n").join(self._words(live)))

    def _words(self, live: Live) -> list[Content]:
        if live.plan is None:
            return []
        lines = [Content(""), *plan_lines(live.plan)]
        lines += neighbour_lines(live.plan, live.neighbours, is_stale=live.is_looking)
        lines += sentences("findings", live.plan.findings)
        lines += sentences("assumptions", live.plan.assumptions)
        return lines


class PlanStrip(Static):
    """The plan in two lines."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)

    def show(self, live: Live) -> None:
        """Bring the two lines up to date."""
        if live.plan is None:
            text = Content.styled(live.problem or "the plan is being made", "$text-warning")
        elif live.problem:
            first, _ = strip_lines(live.plan, live.neighbours)
            text = Content.assemble((live.problem, "$text-warning"), "\nbefore that: ", first)
        else:
            text = Content("\n").join(strip_lines(live.plan, live.neighbours))
        self.update(text, layout=False)
