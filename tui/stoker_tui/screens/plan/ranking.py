"""Asking the bench what fits, and what a row of the table would hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from stoker.errors import StokerError
from stoker_tui.models.comparison_view import CandidateView, ComparisonView, comparison_view
from stoker_tui.models.compose.bench import Superseded
from stoker_tui.models.compose.kinds import Schema
from stoker_tui.models.open_recipe import Live, OpenRecipe
from stoker_tui.models.plan_view import PlanView, plan_view, why_unplanned
from stoker_tui.models.rewrite import changes_of, rewritten
from stoker_tui.screens.base import CockpitScreen

Order = Literal["cost", "time"]
_LIMIT = 200
_PATIENCE_SECONDS = 0.15


class Ranking(CockpitScreen):
    """What is asked for is kept with what it was asked for; answers that come late are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.order: Order = "cost"
        self.any_method = False
        self.everything = False
        self.comparison: ComparisonView | None = None
        self.problem = ""
        self.is_asking = False
        self.plans: dict[str, PlanView | str] = {}
        """Of rows that the cursor rested on, by key; a text says why there is none."""
        self._asked: tuple[object, ...] = ()
        self.schema: Schema = {}

    def changed(self) -> None:
        """Something else is known: show it."""

    @property
    def draft(self) -> OpenRecipe | None:
        """The recipe of Compose."""
        return self.session.draft

    def rank(self) -> None:
        """Ask for the table, unless it is that of the recipe as it is."""
        draft = self.draft
        if draft is None:
            return
        asked = (id(draft), draft.document.revision, draft.machine, *self._options().values())
        if asked == self._asked:
            return
        self._asked, self.is_asking, self.problem = asked, True, ""
        self.plans.clear()
        self.in_thread(lambda: self._rank(draft, asked), "ranking")

    def _options(self) -> dict[str, Any]:
        return {"by": self.order, "any_method": self.any_method, "everything": self.everything}

    def _rank(self, draft: OpenRecipe, asked: tuple[object, ...]) -> None:
        """In a thread."""
        bench, document = self.session.bench, draft.document
        text, path, machine = document.text, document.path, draft.machine.options
        try:
            schema = bench.schema()  # asked for once
            answer = bench.plan(text, path, document.overrides, **machine)
            self.app.call_from_thread(self._take_plan, draft, asked, schema, answer)
            found = bench.compare(
                text, path, document.overrides, limit=_LIMIT, **self._options(), **machine
            )
            self.app.call_from_thread(self._take, asked, comparison_view(found), "")
        except Superseded:
            self.app.call_from_thread(self._ask_again, asked)
        except StokerError as error:
            self.app.call_from_thread(self._take, asked, None, str(error))

    def _ask_again(self, asked: tuple[object, ...]) -> None:
        """Another question came in between: this one is still open, unless a newer one is asked."""
        if asked == self._asked:
            self._asked = ()
            self.set_timer(_PATIENCE_SECONDS, self.rank)

    def _take_plan(
        self,
        draft: OpenRecipe,
        asked: tuple[object, ...],
        schema: dict[str, Any],
        answer: dict[str, Any],
    ) -> None:
        if asked != self._asked:
            return
        self.schema = schema
        draft.problems, draft.is_checked = tuple(answer["problems"]), True
        if answer["plan"] is not None:
            draft.live = Live(plan_view(answer["plan"]), neighbours=draft.live.neighbours)
        else:
            draft.live = replace(draft.live, problem=why_unplanned(answer), is_stale=False)
        self.changed()

    def _take(self, asked: tuple[object, ...], found: ComparisonView | None, problem: str) -> None:
        if asked == self._asked:
            self.comparison, self.problem, self.is_asking = found, problem, False
            self.changed()

    def candidate(self, key: str | None) -> CandidateView | None:
        """The ranked one of that key."""
        ranked = self.comparison.candidates if self.comparison else ()
        return next((each for each in ranked if each.key == key), None)

    def look_into(self, candidate: CandidateView) -> None:
        """Plan the recipe as that row would make it; once."""
        draft = self.draft
        if draft is None or candidate.key in self.plans:
            return
        asked = self._asked
        try:
            text = rewritten(draft.document, changes_of(candidate, draft.document, self.schema))
        except StokerError as error:
            self.plans[candidate.key] = str(error)
            return
        self.in_thread(lambda: self._look_into(draft, text, candidate, asked), "row")

    def _look_into(
        self, draft: OpenRecipe, text: str, candidate: CandidateView, asked: tuple[object, ...]
    ) -> None:
        """In a thread."""
        machine = {"gpu": candidate.gpu, "gpus": candidate.gpus, "nodes": candidate.nodes}
        document = draft.document
        try:
            answer = self.session.bench.plan(text, document.path, document.overrides, **machine)
        except Superseded:
            return
        except StokerError as error:
            found: PlanView | str = str(error)
        else:
            found = plan_view(answer["plan"]) if answer["plan"] else why_unplanned(answer)
        self.app.call_from_thread(self._take_row, candidate.key, found, asked)

    def _take_row(self, key: str, found: PlanView | str, asked: tuple[object, ...]) -> None:
        if asked == self._asked:
            self.plans[key] = found
            self.changed()
