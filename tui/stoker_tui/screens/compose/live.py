"""Checking and planning the recipe at each change, beside the typing and never in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from textual.timer import Timer

from stoker.errors import StokerError
from stoker.run.lines import clean
from stoker_tui.models.compose.bench import Superseded
from stoker_tui.models.compose.form import sections_of
from stoker_tui.models.compose.kinds import Schema
from stoker_tui.models.form_view import spellings_of
from stoker_tui.models.neighbour_view import Neighbour, neighbours_of
from stoker_tui.models.open_recipe import Live, OpenRecipe
from stoker_tui.models.plan_view import Json, plan_view, why_unplanned
from stoker_tui.screens.compose.frame import ComposeFrame

_PATIENCE_SECONDS = 0.1
"""After the last change: several keys in a row are one request."""


class LiveWork(ComposeFrame):
    """What is shown follows the text at once; what is found out follows when it is known."""

    def __init__(self) -> None:
        super().__init__()
        self.schema: Schema = {}
        self._patience: Timer | None = None
        self._request = 0

    def changed(self, key: str | None = None) -> None:
        """The text is another: show it now, check and plan it soon; the cursor goes to `key`."""
        recipe = self.recipe
        if recipe is None:
            return
        recipe.is_checked = False
        recipe.live = replace(recipe.live, is_stale=True)
        self.refill(key)
        if self._patience is not None:
            self._patience.stop()
        self._patience = self.set_timer(_PATIENCE_SECONDS, self.find_out)

    def refill(self, key: str | None = None) -> None:
        """Make the form again from the text."""
        recipe = self.recipe
        if recipe is not None and self.schema:
            self.sections = sections_of(self.schema, recipe.document, recipe.problems)
            self.spellings = spellings_of(recipe.document)
        self.show_recipe(key)

    def find_out(self) -> None:
        """Check, plan and look for neighbours, in a worker."""
        recipe = self.recipe
        if recipe is not None:
            self._request += 1
            request, revision = self._request, recipe.document.revision
            self.in_thread(lambda: self._work(recipe, revision, request), "live")

    def _work(self, recipe: OpenRecipe, revision: int, request: int) -> None:
        """In a thread: ask, and hand over what is still wanted."""
        bench, document, machine = self.session.bench, recipe.document, recipe.machine
        text, path = document.text, document.path
        try:
            if not self.schema:
                self.schema = bench.schema()
                self.app.call_from_thread(self._tell_failures, bench.failures)
            answer = bench.plan(text, path, document.overrides, **machine.options)
            self.app.call_from_thread(self._take, recipe, revision, answer)
        except Superseded:
            # By a question about another text: this one is still open, unless a newer one is asked.
            if request == self._request:
                self.app.call_from_thread(self.set_timer, _PATIENCE_SECONDS, self.find_out)
            return
        except StokerError as error:
            self.app.call_from_thread(self._give_up, recipe, revision, str(error))
            return
        if answer["plan"] is not None:
            self._look_around(recipe, revision, text)

    def _look_around(self, recipe: OpenRecipe, revision: int, text: str) -> None:
        """In a thread: neighbours, which take longer; without an answer there are none."""
        document = recipe.document
        near: tuple[Neighbour, ...] = ()
        try:
            found = self.session.bench.neighbours(
                text, document.path, document.overrides, **recipe.machine.options
            )
            near = neighbours_of(found)
        except Superseded:
            return
        except StokerError as error:
            self.log.warning(f"no neighbours: {error}")
        self.app.call_from_thread(self._take_neighbours, recipe, revision, near)

    def _tell_failures(self, failures: Mapping[str, str]) -> None:
        """Plugins that have no section, and why."""
        for name, why in failures.items():
            self.notify(clean(f"{name}: {why}"), title="no form", severity="warning", markup=False)

    def _take(self, recipe: OpenRecipe, revision: int, answer: Json) -> None:
        if recipe is not self.recipe or revision != recipe.document.revision:
            return
        recipe.problems = tuple(answer["problems"])
        recipe.is_checked = True
        plan = answer["plan"]
        if plan is not None:
            near = recipe.live.neighbours
            recipe.live = Live(plan_view(plan), neighbours=near, is_looking=True)
        else:
            recipe.live = replace(recipe.live, problem=why_unplanned(answer), is_stale=False)
        self.refill()

    def _take_neighbours(self, recipe: OpenRecipe, revision: int, near: tuple[Neighbour, ...]) -> None:
        if recipe is self.recipe and revision == recipe.document.revision:
            recipe.live = replace(recipe.live, neighbours=near, is_looking=False)
            self.show_around()

    def _give_up(self, recipe: OpenRecipe, revision: int, why: str) -> None:
        """The bench has no answer; the next change asks again."""
        if recipe is self.recipe and revision == recipe.document.revision:
            recipe.live = replace(recipe.live, problem=why, is_stale=False)
            self.refill()
