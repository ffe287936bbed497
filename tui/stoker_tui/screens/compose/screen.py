"""Compose: choose what to begin with, edit it as a form, see what it needs and costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import ContentSwitcher, OptionList, Static

from stoker.errors import StokerError
from stoker_tui.keys import bind
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.starting import StartingPoint, open_asked, starting_points
from stoker_tui.models.open_recipe import OpenRecipe, asked_for
from stoker_tui.screens.compose.lists import start_options
from stoker_tui.screens.compose.looking import Looking
from stoker_tui.screens.confirm import ConfirmScreen
from stoker_tui.widgets.fields import FieldList
from stoker_tui.widgets.pick_list import PickList


class ComposeScreen(Looking):
    """A recipe as a form, with its plan and its problems beside it."""

    CSS_PATH = "compose.tcss"
    HELP: ClassVar[str] = (
        "Choose a template, a recipe or a run to begin with. Every key of the recipe and of every "
        "installed plugin is in the form; the plan beside it follows each change. Nothing is written "
        "before w, and nothing is started before L and a yes."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "escape",
            "back",
            "Back",
            "Back to all panes, then to the list.",
            id="compose.back",
            show=False,
        ),
        bind("o", "open", "Open", "Open another recipe.", id="compose.open", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._starts: list[StartingPoint] = []
        self._shown: OpenRecipe | None = None

    def on_screen_resume(self) -> None:
        """Open what was asked for elsewhere; what is being edited is not lost by that."""
        super().on_screen_resume()
        asked, recipe = asked_for(self.session), self.recipe
        if asked is not None:
            self.replace_recipe(lambda: open_asked(asked, Path()))
        elif recipe is None:
            self.action_open()
        elif recipe is not self._shown:
            self._show(recipe)
        else:
            self.refill()
            if not recipe.is_checked:
                self.find_out()

    def action_open(self) -> None:
        """The list of what one can begin with."""
        self._starts = starting_points(Path(), self.session.folder)
        recipe = self.recipe
        head = "Begin with a template, a recipe or a run; enter opens it."
        if recipe is not None:
            head = f"{head} esc goes back to {recipe.title}."
        self.query_one("#start-head", Static).update(Content(head))
        chooser = self.query_one("#chooser", PickList)
        chooser.show(start_options(self._starts))
        self.query_one(ContentSwitcher).current = "start"
        chooser.focus()
        self.call_after_refresh(chooser.scroll_to_highlight)

    def action_back(self) -> None:
        """Out of the zoom, out of the text, then between the list and the recipe."""
        if self.query_one(ContentSwitcher).current == "start":
            if self.recipe is not None:
                self._show_editor()
        elif self.has_class("-zoomed"):
            self.remove_class("-zoomed")
        elif self.has_class("-toml"):
            self.action_toml()
        else:
            self.action_open()

    @on(OptionList.OptionSelected, "#chooser")
    def _start_chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        start = self._starts[int(event.option_id or 0)]
        self.replace_recipe(lambda: start.make(Path()))

    @on(OptionList.OptionHighlighted, "#sections")
    def _section_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_id is not None and event.option_id != self.section_name:
            self.section_name = event.option_id
            self.show_recipe()

    @on(OptionList.OptionSelected, "#sections")
    def _section_entered(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.enter_pane("fields")

    @on(FieldList.Moved)
    def _moved(self, event: FieldList.Moved) -> None:
        event.stop()
        self.show_around()

    @on(FieldList.Chosen)
    def _clicked(self, event: FieldList.Chosen) -> None:
        event.stop()
        self.action_edit()

    def replace_recipe(self, make: Callable[[], Document]) -> None:
        """Open another recipe; asks first where changes would be lost."""
        recipe = self.recipe
        if recipe is None or not recipe.document.has_work:
            self._open(make)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._open(make)

        lines = ["Opening another recipe loses them; w saves them first."]
        self.app.push_screen(ConfirmScreen(f"{recipe.title} has changes.", lines), answered)

    def _open(self, make: Callable[[], Document]) -> None:
        try:
            document = make()
        except StokerError as error:
            self.say(error)
            return
        self.session.draft = OpenRecipe(document)
        self._show(self.session.draft)

    def _show(self, recipe: OpenRecipe) -> None:
        self._shown = recipe
        self.sections, self.section_name = (), ""
        self._show_editor()
        self.refill()
        self.find_out()

    def _show_editor(self) -> None:
        self.query_one(ContentSwitcher).current = "editor"
        self.enter_pane("sections")
