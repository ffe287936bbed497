"""Changing the recipe by keys: values, rows, plugins, fixes, undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType

from stoker.errors import StokerError
from stoker.run.lines import clean
from stoker_tui.keys import bind
from stoker_tui.models.compose.entry import parse_entry, shown_text
from stoker_tui.models.compose.form import Section
from stoker_tui.models.compose.kinds import Field
from stoker_tui.screens.asking import Choice, ChooseScreen
from stoker_tui.screens.compose.live import LiveWork
from stoker_tui.widgets.fields import FieldForm

_ENABLED = ".enabled"
_NEW_ROW = {"path": ""}


class Editing(LiveWork):
    """Every change is one step of undo; what cannot be done is said in words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("enter", "edit", "Edit", "Edit the value, or choose one.", id="compose.edit"),
        bind(
            "space",
            "turn",
            "Next choice",
            "The next choice; a switch or a plugin on or off.",
            id="compose.turn",
            show=False,
        ),
        bind(
            "x,delete,backspace",
            "unset",
            "Unset",
            "Back to the default; on a row's name: remove the row.",
            id="compose.unset",
            show=False,
        ),
        bind("a", "add_row", "Add row", "Add a row of data.", id="compose.add_row", show=False),
        bind("less_than_sign", "move_row(-1)", "Row up", "Move the row up.", id="compose.row_up",
            show=False,
        ),
        bind(
            "greater_than_sign", "move_row(1)", "Row down", "Move the row down.", id="compose.row_down",
            show=False,
        ),
    ]  # fmt: skip

    def attempt(self, change: Callable[[], object], key: str | None = None) -> bool:
        """Make a change, or say why not."""
        try:
            change()
        except StokerError as error:
            self.say(error)
            return False
        self.changed(key)
        return True

    def say(self, error: StokerError) -> None:
        """What could not be done, and what to do."""
        self.notify(clean(str(error)), severity="error", markup=False)

    def action_edit(self) -> None:
        """Open the input, the list of choices, or turn a switch."""
        line = self.line
        if line is None or line.field is None:
            return
        kind = line.field.kind
        if kind == "rows":
            self.action_add_row()
        elif kind == "boolean":
            self.action_turn()
        elif kind == "choice":
            self._choose(line.field)
        elif "\n" in (text := self._text_of(line.field)):
            self.notify(f"{line.key} has several lines: e edits them in $EDITOR.", markup=False)
        else:
            self.form.edit(line, text)

    def _text_of(self, field: Field) -> str:
        """A value as it is edited: as it is written, text whole and without quotes."""
        written = self.spellings.get(field.key) if field.is_stated else None
        return written or shown_text(field.shown)

    def action_turn(self) -> None:
        """The next of a few values, or a plugin on or off."""
        if self.focused is self.query_one("#sections"):
            self._switch(self.current_section())
            return
        line = self.line
        if line is None or line.field is None:
            return
        if line.field.kind == "boolean":
            self.put(line.field, not line.field.shown)
        elif line.field.kind == "choice":
            choices = list(line.field.choices)
            place = choices.index(line.field.shown) + 1 if line.field.shown in choices else 0
            self.put(line.field, choices[place % len(choices)])

    def put(self, field: Field, value: Any, written: str = "") -> bool:
        """State a value; of a plugin's switch in the way that keeps its options."""
        recipe = self.recipe
        if recipe is None:
            return False
        if (
            field.key.startswith("plugins.")
            and field.key.endswith(_ENABLED)
            and field.key.count(".") == 2
        ):
            plugin = field.key.split(".")[1]
            return self.attempt(lambda: recipe.document.switch_plugin(plugin, bool(value)), field.key)
        return self.attempt(lambda: recipe.document.set(field.key, value, written), field.key)

    def action_unset(self) -> None:
        """Take the key out, or the row."""
        line, recipe = self.line, self.recipe
        if line is None or recipe is None or self.focused is not self.form.fields:
            return
        if line.words:
            self.attempt(lambda: recipe.document.unset(line.key))
        elif line.field is None and line.row is not None:
            key, row = line.rows_key, line.row
            self.attempt(lambda: recipe.document.remove_row(key, row))
        elif line.field is not None and line.field.is_stated:
            self.attempt(lambda: recipe.document.unset(line.key), line.key)
        elif line.field is not None and line.field.value is not None:
            self.notify(f"{line.key} is stated by {line.origin}, not here.", markup=False)

    def action_add_row(self) -> None:
        """A row at the end of the array that the cursor is in."""
        line, recipe = self.line, self.recipe
        if line is None or recipe is None or not line.rows_key:
            return
        key = line.rows_key
        field = next((each.field for each in self.lines if each.key == key), None)
        number = len(field.rows) if field else 0
        if self.attempt(lambda: recipe.document.add_row(key, _NEW_ROW), f"{key}.{number}.path"):
            self.action_edit()

    def action_move_row(self, by: int) -> None:
        """Change places with the row before or behind."""
        line, recipe = self.line, self.recipe
        if line is None or recipe is None or line.row is None:
            return
        key, row, to = line.rows_key, line.row, line.row + by
        inside = line.key.removeprefix(f"{key}.{row}")
        if f"{key}.{to}" in {each.key for each in self.lines}:
            self.attempt(lambda: recipe.document.move_row(key, row, to), f"{key}.{to}{inside}")

    def _switch(self, section: Section | None) -> None:
        recipe = self.recipe
        if recipe is not None and section is not None and section.plugin:
            plugin, on = section.plugin, not section.is_on
            self.attempt(lambda: recipe.document.switch_plugin(plugin, on))

    def _choose(self, field: Field) -> None:
        choices = [Choice(shown_text(value), shown_text(value)) for value in field.choices]
        current = shown_text(field.shown)

        def take(chosen: str | None) -> None:
            if chosen is not None:
                self.put(field, parse_entry(field, chosen))

        self.app.push_screen(ChooseScreen(field.key, choices, current=current), take)

    @on(FieldForm.Entered)
    def _entered(self, event: FieldForm.Entered) -> None:
        """Take what was typed, or keep the input open and say what is wrong with it."""
        line = next((each for each in self.lines if each.key == event.key), None)
        if line is None or line.field is None:
            self.form.close()
            return
        if not event.text.strip() and line.field.kind != "text":
            self.form.close()
            self.action_unset()
            return
        try:
            value = parse_entry(line.field, event.text)
        except ValueError as error:
            self.show_refusal(line, str(error))
            return
        if event.text == self._text_of(line.field) or self.put(line.field, value, event.text.strip()):
            self.form.close()
