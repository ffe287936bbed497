"""Writing a ranked candidate into the recipe: the diff, a yes, one step of undo."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

from stoker.errors import StokerError
from stoker.run.lines import clean
from stoker_tui.models.comparison_view import CandidateView
from stoker_tui.models.compose.kinds import Schema
from stoker_tui.models.open_recipe import Machine, OpenRecipe
from stoker_tui.models.rewrite import changes_of, diff_lines, rewritten
from stoker_tui.screens.confirm import ConfirmScreen


def confirm_rewrite(
    screen: Screen[object],
    draft: OpenRecipe,
    candidate: CandidateView,
    schema: Schema,
    then: Callable[[], None],
) -> None:
    """Ask, and rewrite the draft after a yes; then call `then`."""
    edits = changes_of(candidate, draft.document, schema)
    try:
        diff = diff_lines(draft.document.text, rewritten(draft.document, edits))
    except StokerError as error:
        screen.notify(clean(str(error)), severity="error", markup=False)
        return
    if not diff:
        screen.notify("The recipe says so already.", markup=False)
        return

    def answered(yes: bool | None) -> None:
        if yes:
            draft.document.apply_all(edits, f"take {candidate.words}")
            if candidate.gpu != draft.machine.gpu and draft.machine.gpu:
                draft.machine = Machine(candidate.gpu)
            elif draft.machine.gpus not in (0, candidate.gpus):
                draft.machine = Machine(draft.machine.gpu)
            screen.notify(f"{candidate.words}; u takes it back", timeout=3, markup=False)
            then()

    lines = [*map(clean, diff), *(f"{key}: to be filled in" for key in candidate.to_fill_in)]
    screen.app.push_screen(ConfirmScreen(f"Take {candidate.words}?", lines), answered)
