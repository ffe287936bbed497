"""What the parts of the screen Compose share: its panes, and showing the recipe in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static

from stoker_tui.models.compose.form import Section
from stoker_tui.models.form_view import Line, lines_of, text_line
from stoker_tui.models.open_recipe import OpenRecipe
from stoker_tui.screens.base import CockpitScreen
from stoker_tui.screens.compose.lists import (
    about_text,
    problem_options,
    refusal_text,
    section_options,
    title_text,
)
from stoker_tui.screens.compose.plan_pane import PlanPane, PlanStrip
from stoker_tui.widgets.fields import FieldForm
from stoker_tui.widgets.pick_list import PickList
from stoker_tui.widgets.toml_text import TomlText

PANES = ("sections", "fields", "toml", "plan", "problems")
"""Ids, in the order of `tab`."""

_FIRST = "run"
"""The section that is shown first."""

_MAKING = "The forms of the installed plugins are being made ..."


class ComposeFrame(CockpitScreen):
    """Panes and what is in them; nothing here changes the recipe."""

    TITLE_WORD: ClassVar[str] = "Compose"
    ALWAYS: ClassVar[frozenset[str]] = frozenset({"back", "open"})
    """Actions that make sense without a recipe."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: Sequence[Section] = ()
        self.section_name = ""
        self.spellings: dict[str, str] = {}

    @property
    def recipe(self) -> OpenRecipe | None:
        """The recipe that is open."""
        return self.session.draft

    @property
    def form(self) -> FieldForm:
        return self.query_one("#form", FieldForm)

    @property
    def line(self) -> Line | None:
        """The field under the cursor."""
        return self.form.fields.current

    @property
    def lines(self) -> Sequence[Line]:
        """The fields that are shown."""
        return self.form.fields.lines

    def current_section(self) -> Section | None:
        """The section that is shown."""
        return next((each for each in self.sections if each.name == self.section_name), None)

    def compose_body(self) -> ComposeResult:
        """The list to begin from, or the panes."""
        with ContentSwitcher(initial="start"):
            with Vertical(id="start"):
                yield Static("", id="start-head", markup=False)
                yield PickList(id="chooser")
            with Vertical(id="editor"):
                yield Static("", id="title", markup=False)
                with Horizontal(id="panes"):
                    yield PickList(id="sections")
                    with Vertical(id="middle"):
                        yield FieldForm(id="form")
                        yield Static("", id="about", markup=False)
                    yield TomlText(id="toml")
                    yield PlanPane(id="plan")
                yield PlanStrip(id="strip")
                yield PickList(id="problems")

    def show_recipe(self, key: str | None = None) -> None:
        """Bring every pane up to date; the cursor goes to `key` where one is given."""
        recipe = self.recipe
        if recipe is None:
            return
        if key is not None:
            self.section_name = self.section_of(key)
        names = [section.name for section in self.sections]
        if self.section_name not in names and names:
            self.section_name = _FIRST if _FIRST in names else names[0]
        self.query_one("#sections", PickList).show(section_options(self.sections), self.section_name)
        section = self.current_section()
        self.form.fields.show(lines_of(section, self.spellings) if section else (), key)
        self.show_around()

    def show_around(self) -> None:
        """What follows from the cursor and from what was found out: text, plan, problems, title."""
        recipe = self.recipe
        if recipe is None:
            return
        line = self.line
        self.query_one("#title", Static).update(title_text(recipe), layout=False)
        self.query_one("#about", Static).update(
            about_text(line) if self.sections else _MAKING, layout=False
        )
        toml = self.query_one("#toml", TomlText)
        if toml.display:
            toml.show(recipe.document.text, text_line(recipe.document, line.key if line else ""))
        self.query_one(PlanPane).show(recipe.live)
        self.query_one(PlanStrip).show(recipe.live)
        problems = self.query_one("#problems", PickList)
        problems.show(problem_options(recipe.problems))
        problems.set_class(not recipe.problems, "-none")
        if self.has_class("-problems") != bool(recipe.problems):
            self.toggle_class("-problems")
            self.refresh_bindings()

    def go_to(self, key: str) -> None:
        """Put the cursor on a key, in its section."""
        self.show_recipe(key)
        self.enter_pane("fields")

    def enter_pane(self, pane: str) -> None:
        """Show a pane where it is hidden on a narrow screen, and give it the keys."""
        self._mark_pane(pane)
        # At once: the next key may be there already.
        self.app.stylesheet.update(self)
        self.set_focus(self.query_one(f"#{pane}"))

    def pane_of(self, widget: Widget | None) -> str:
        """The pane that a widget is in; empty for none."""
        while widget is not None and widget.id not in PANES:
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        return widget.id or "" if widget is not None else ""

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click may have brought another pane to the front."""
        pane = self.pane_of(event.widget)
        if pane:
            self._mark_pane(pane)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a recipe there is nothing to edit, save or start."""
        if action in self.ALWAYS or not hasattr(self, f"action_{action}"):
            return super().check_action(action, parameters)
        if self.recipe is None or self.query_one(ContentSwitcher).current == "start":
            return False
        if action == "fix" and not self.recipe.problems:
            return False
        if action == "find" and self.form.is_editing:
            return False  # a slash is typed then
        if action == "edit" and self.has_class("-at-plan"):
            return False  # the form may be hidden
        return super().check_action(action, parameters)

    def _mark_pane(self, pane: str) -> None:
        for each in PANES:
            self.set_class(each == pane, f"-at-{each}")

    def show_refusal(self, line: Line, why: str) -> None:
        """Say below the form why what was typed is no value."""
        self.query_one("#about", Static).update(refusal_text(line, why), layout=False)

    def section_of(self, key: str) -> str:
        """The name of the section in which a key stands."""
        for section in self.sections:
            if key == section.name or key.startswith(f"{section.name}."):
                return section.name
        return self.section_name
