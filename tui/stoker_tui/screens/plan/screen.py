"""Plan: what fits, ranked, beside what the recipe as it is needs; or a run's plan against the run."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static

from stoker.errors import StokerError
from stoker.run.lines import clean
from stoker_tui.keys import bind
from stoker_tui.models.comparison_view import CandidateView
from stoker_tui.models.compose.starting import open_asked
from stoker_tui.models.machines import gpu_choices
from stoker_tui.models.open_recipe import Machine, OpenRecipe, asked_for
from stoker_tui.models.plan_view import PlanView
from stoker_tui.models.run_plan import read_run_plan
from stoker_tui.screens.asking import Choice, ChooseScreen
from stoker_tui.screens.plan.details import Details
from stoker_tui.screens.plan.ranking import Ranking
from stoker_tui.screens.plan.table import COLUMNS, DRAFT, candidate_cells, draft_cells, row_keys
from stoker_tui.screens.rewriting import confirm_rewrite
from stoker_tui.widgets.columns import Cell
from stoker_tui.widgets.grid import Grid

_PATIENCE_SECONDS = 0.15
"""The cursor rests on a row so long before its memory is asked for."""
_NOTHING = "No recipe is open: 2 opens one in Compose. With a run in Watch its plan is shown here."


class PlanScreen(Ranking):
    """A table to choose from: choosing rewrites the recipe of Compose."""

    TITLE_WORD: ClassVar[str] = "Plan"
    CSS_PATH = "plan.tcss"
    HELP: ClassVar[str] = (
        "Strategies, types and numbers of GPUs that fit the recipe of Compose, ranked by cost or time. "
        "enter writes the row under the cursor into the recipe, after a diff and a yes. Of a run: what "
        "was planned against what was measured."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "o", "order", "Cost/time", "Rank by cost, or by time.",
            id="plan.order", twin="stoker plan --compare --by time RECIPE",
        ),
        bind(
            "m", "methods", "Methods", "Full training, LoRA and QLoRA together, or this method.",
            id="plan.methods", twin="stoker plan --compare --any-method RECIPE",
        ),
        bind(
            "a", "everything", "All rows", "All that fit, or the best on each number of GPUs.",
            id="plan.everything", twin="stoker plan --compare --all RECIPE",
        ),
        bind(
            "g", "machine", "GPUs", "One type of GPU, or all.",
            id="plan.machine", twin="stoker plan --compare --gpu NAME RECIPE",
        ),
        bind("r", "subject", "Run", "The recipe of Compose, or the run of Watch.", id="plan.subject"),
        bind("u", "undo", "Undo", "Take the last change of the recipe back.", id="plan.undo"),
        bind("U", "redo", "Redo", "Make it again.", id="plan.redo", show=False),
        bind(
            "tab,shift+tab,right_square_bracket,left_square_bracket", "pane", "Pane",
            "The table, or the details.", id="plan.pane", show=False,
        ),
        bind("z", "zoom", "Zoom", "The details alone, or beside the table.", id="plan.zoom", show=False),
        bind("escape", "back", "Back", "Out of the zoom; to the table.", id="plan.back", show=False),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.of_run = False
        self._seen: OpenRecipe | None = None
        self._patience: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Head, table, details."""
        yield Static("", id="plan-title", markup=False)
        with Horizontal(id="panes"):
            yield Grid(COLUMNS, id="ranked", empty=_NOTHING)
            yield Details(id="details")
        yield Static("", id="plan-notes", markup=False)

    def on_screen_resume(self) -> None:
        """The recipe may be another by now."""
        super().on_screen_resume()
        self._open(asked_for(self.session))
        if self.draft is not self._seen:
            self._seen, self.of_run = self.draft, False
        self.of_run = self.of_run or self.draft is None
        self.refill()
        self._focus_subject()

    def _focus_subject(self) -> None:
        """The keys go to what is shown, once it is."""
        self.call_after_refresh(self.query_one("#details" if self.of_run else "#ranked").focus)

    def _open(self, asked: Path | None) -> None:
        """Open a recipe that was named; never in the place of one that is not saved."""
        draft = self.draft
        if asked is None:
            return
        if draft is not None and draft.document.has_work:
            self.notify(f"{draft.title} has changes: save it first.", severity="warning", markup=False)
            return
        try:
            self.session.draft = OpenRecipe(open_asked(asked, Path()))
        except StokerError as error:
            self.notify(clean(str(error)), severity="error", markup=False)

    def beat(self) -> None:
        """A run's grade may have come."""
        if self.of_run:
            self.changed()

    def refill(self) -> None:
        """Ask for what is missing, and show what there is."""
        if not self.of_run:
            self.rank()
        self.changed()

    def changed(self) -> None:
        """Show what is known."""
        self.set_class(self.of_run, "-of-run")
        if self.of_run:
            self._show_run()
            return
        draft, grid = self.draft, self.query_one("#ranked", Grid)
        if draft is None:
            grid.show([], lambda key: [])
            return
        grid.show(row_keys(self.comparison) if draft.live.plan else [], self._cells)
        grid.set_empty(self.problem or "being compared ...")
        self.query_one("#plan-title", Static).update(self._title(draft))
        self.query_one("#plan-notes", Static).update(self._notes())
        self._show_details()

    def _cells(self, key: str) -> list[Cell]:
        candidate = self.candidate(key)
        if candidate is not None:
            return candidate_cells(candidate)
        plan = self.draft.live.plan if self.draft else None
        return draft_cells(plan) if plan else [""] * len(COLUMNS)

    def _title(self, draft: OpenRecipe) -> Content:
        methods = "all methods" if self.any_method else "this method"
        rows = "all rows" if self.everything else "best of each number of GPUs"
        gpu = draft.machine.gpu or "all types of GPU"
        parts = f"  by {self.order}, {methods}, {gpu}, {rows}"
        waiting = "  being compared" if self.is_asking else ""
        return Content.assemble((draft.title, "bold"), (parts, "$text-muted"), waiting)

    def _notes(self) -> Content:
        if self.problem:
            return Content.styled(self.problem, "$text-warning")
        found = self.comparison
        if found is None:
            return Content("")
        lines = [f"{found.fitting:,} of {found.considered:,} combinations fit", *found.notes]
        lines += [f"left out: {why}" for why in found.refused[:2]]
        return Content.styled("\n".join(lines), "$text-muted")

    def _show_details(self) -> None:
        details, draft = self.query_one(Details), self.draft
        candidate = self.candidate(self.query_one("#ranked", Grid).cursor_key)
        if draft is None:
            return
        if candidate is None:
            details.show_plan("this recipe", draft.live.plan, draft.live.problem)
            return
        found = self.plans.get(candidate.key, "being planned ...")
        plan = found if isinstance(found, PlanView) else None
        best = f": {candidate.marks}" if candidate.marks else ""
        note = "" if isinstance(found, PlanView) else found
        details.show_plan(f"{candidate.words}{best}", plan, note)

    def _show_run(self) -> None:
        run = self.session.run
        title, details = self.query_one("#plan-title", Static), self.query_one(Details)
        if run is None:
            title.update(Content(""))
            details.show_plan(_NOTHING, None)
            return
        title.update(Content.assemble((clean(run.name), "bold"), ("  plan and run", "$text-muted")))
        details.show_run("what was planned, and what was measured", read_run_plan(run))

    @on(Grid.Highlighted)
    def _moved(self, event: Grid.Highlighted) -> None:
        event.stop()
        self._show_details()
        if self._patience is not None:
            self._patience.stop()
        candidate = self.candidate(event.key)
        if candidate is not None:
            self._patience = self.set_timer(_PATIENCE_SECONDS, lambda: self._rest_on(candidate))

    def _rest_on(self, candidate: CandidateView) -> None:
        self.look_into(candidate)
        self._show_details()

    @on(Grid.Selected)
    def _chosen(self, event: Grid.Selected) -> None:
        """Write the row into the recipe, after a diff and a yes."""
        event.stop()
        draft, candidate = self.draft, self.candidate(event.key)
        if draft is None or candidate is None or event.key == DRAFT:
            return
        confirm_rewrite(self, draft, candidate, self.schema, self._rewritten)

    def _rewritten(self) -> None:
        if self.draft is not None:
            self.draft.is_checked = False
        self.query_one("#ranked", Grid).move_to(0)
        self.refill()

    def action_undo(self) -> None:
        """One step of the recipe back."""
        if self.draft is not None:
            self._travelled(self.draft.document.undo(), "undone", "nothing to undo")

    def action_redo(self) -> None:
        """One step of the recipe forth."""
        if self.draft is not None:
            self._travelled(self.draft.document.redo(), "redone", "nothing to redo")

    def _travelled(self, words: str, done: str, nothing: str) -> None:
        self.notify(f"{done}: {words}" if words else nothing, timeout=2, markup=False)
        if words:
            self._rewritten()

    def action_order(self) -> None:
        """Rank by the other."""
        self.order = "time" if self.order == "cost" else "cost"
        self.refill()

    def action_methods(self) -> None:
        """All methods, or the recipe's."""
        self.any_method = not self.any_method
        self.refill()

    def action_everything(self) -> None:
        """All that fit, or the best."""
        self.everything = not self.everything
        self.refill()

    def action_machine(self) -> None:
        """Ask for a type of GPU."""
        draft = self.draft
        if draft is None:
            return

        def take(gpu: str | None) -> None:
            if gpu is not None:
                draft.machine = Machine(gpu, draft.machine.gpus)
                draft.is_checked = False
                self.refill()

        choices = [
            Choice(name, name or "all types", about if name else "") for name, about in gpu_choices()
        ]
        self.app.push_screen(ChooseScreen("Compare on", choices, current=draft.machine.gpu), take)

    def action_subject(self) -> None:
        """The recipe, or the run."""
        self.of_run = not self.of_run
        self.refill()
        self._focus_subject()

    def action_pane(self) -> None:
        """The other pane."""
        grid = self.query_one("#ranked")
        self.query_one(Details).focus() if grid.has_focus else grid.focus()

    def action_zoom(self) -> None:
        """The details alone."""
        self.toggle_class("-zoomed")
        target = "#details" if self.has_class("-zoomed") else "#ranked"
        self.call_after_refresh(self.query_one(target).focus)

    def action_back(self) -> None:
        """To the table."""
        self.remove_class("-zoomed")
        self.call_after_refresh(self.query_one("#ranked").focus)
