"""Fixes of problems, better neighbours, undo and redo."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.widgets import OptionList

from stoker_tui.keys import bind
from stoker_tui.screens.asking import Choice, ChooseScreen
from stoker_tui.screens.compose.editing import Editing
from stoker_tui.screens.rewriting import confirm_rewrite
from stoker_tui.widgets.pick_list import PickList


class Mending(Editing):
    """Changes that somebody else proposes, and taking changes back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("f", "fix", "Fix", "Apply the fix of the problem.", id="compose.fix"),
        bind(
            "b", "better", "Better", "Take the cheaper or the faster neighbour, after a diff.",
            id="compose.better", show=False,
        ),
        bind("u", "undo", "Undo", "Take the last change back.", id="compose.undo"),
        bind("U", "redo", "Redo", "Make it again.", id="compose.redo", show=False),
    ]  # fmt: skip

    def action_fix(self) -> None:
        """Apply the fix of the problem under the cursor: the field's, else the first that has one."""
        recipe = self.recipe
        if recipe is None:
            return
        problem = self._problem()
        fix = problem.get("fix") if problem else None
        if not fix:
            why = "This problem has no fix that could be applied." if problem else "There is no problem."
            self.notify(why, markup=False)
            return
        self.attempt(lambda: recipe.document.apply(fix), str(fix.get("to") or fix["key"]))

    def _problem(self) -> Any:
        """The problem that `f` is about."""
        recipe, line = self.recipe, self.line
        if recipe is None or not recipe.problems:
            return None
        chosen = self.query_one("#problems", PickList)
        if self.focused is chosen:
            return recipe.problems[int(chosen.current or 0)]
        own = recipe.problems_of(line.key) if line is not None else []
        ranked = [*own, *recipe.problems]
        # A key that is misspelt is more likely than one that is missing as well as one too many.
        ranked.sort(key=lambda each: (each.get("fix") or {}).get("action") != "rename")
        return next((each for each in ranked if each.get("fix")), ranked[0])

    def action_better(self) -> None:
        """Ask which neighbour, show the diff, rewrite the recipe after a yes."""
        recipe = self.recipe
        if recipe is None:
            return
        live = recipe.live
        # What is shown may be of the text before.
        is_known = recipe.is_checked and not live.is_looking
        near = {each.kind: each for each in live.neighbours} if is_known else {}
        if not near:
            self.notify("No neighbour is known that is cheaper or faster.", markup=False)
            return

        def take(kind: str | None) -> None:
            if kind is not None:
                confirm_rewrite(self, recipe, near[kind].candidate, self.schema, self.changed)

        choices = [Choice(kind, f"{kind}: {each.words}", each.amounts) for kind, each in near.items()]
        self.app.push_screen(ChooseScreen("One change away", choices), take)

    def action_undo(self) -> None:
        """One step back."""
        recipe = self.recipe
        if recipe is not None:
            self._travelled(recipe.document.undo(), "undone", "nothing to undo")

    def action_redo(self) -> None:
        """One step forth."""
        recipe = self.recipe
        if recipe is not None:
            self._travelled(recipe.document.redo(), "redone", "nothing to redo")

    def _travelled(self, words: str, done: str, nothing: str) -> None:
        self.notify(f"{done}: {words}" if words else nothing, timeout=2, markup=False)
        if words:
            self.changed()

    @on(OptionList.OptionSelected, "#problems")
    def _problem_chosen(self, event: OptionList.OptionSelected) -> None:
        """To the key that the problem is about."""
        event.stop()
        recipe = self.recipe
        if recipe is not None:
            self.go_to(str(recipe.problems[event.option_index]["key"]))
