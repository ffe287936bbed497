"""Keys that look: panes, the text, rows of data, a key by its name, the GPUs of the plan."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from stoker.errors import StokerError
from stoker_tui.keys import bind
from stoker_tui.models.compose.bench import Superseded
from stoker_tui.models.compose.preview import read_preview
from stoker_tui.models.form_view import find_choices
from stoker_tui.models.machines import gpu_choices
from stoker_tui.models.open_recipe import Machine
from stoker_tui.screens.asking import AskScreen, Choice, ChooseScreen
from stoker_tui.screens.compose.frame import PANES
from stoker_tui.screens.compose.launching import Launching
from stoker_tui.screens.compose.preview import preview_text
from stoker_tui.screens.told import ToldScreen

_PREVIEWED_ROWS = 3
_LEGEND = "+ reversed: the model learns it   | only read"


class Looking(Launching):
    """Nothing here changes the recipe."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind(
            "tab,right_square_bracket", "pane(1)", "Pane", "The next pane.",
            id="compose.next", show=False,
        ),
        bind(
            "shift+tab,left_square_bracket", "pane(-1)", "Pane", "The previous pane.",
            id="compose.previous", show=False,
        ),
        bind(
            "right,l", "pane_right", "Form", "From the sections to the form.",
            id="compose.right", show=False,
        ),
        bind("left,h", "pane_left", "Sections", "Back to the sections.", id="compose.left", show=False),
        bind("z", "zoom", "Zoom", "This pane alone, or all again.", id="compose.zoom", show=False),
        bind("t", "toml", "TOML", "The text of the recipe beside the form.", id="compose.toml"),
        bind("slash", "find", "Find", "Find a key in all sections.", id="compose.find", display="/"),
        bind(
            "d", "preview", "Data", "Rows of the data as the model will see them.",
            id="compose.preview", twin="stoker check --show-data 3 RECIPE",
        ),
        bind(
            "g", "machine", "GPUs", "Choose the GPUs that the plan is for.",
            id="compose.machine", twin="stoker plan --gpu NAME --gpus N RECIPE", show=False,
        ),
    ]  # fmt: skip

    def action_pane(self, by: int) -> None:
        """To the next pane, or the previous one."""
        shown = [pane for pane in PANES if self._is_there(pane)]
        here = self.pane_of(self.focused)
        place = shown.index(here) + by if here in shown else 0
        self.enter_pane(shown[place % len(shown)])

    def action_pane_right(self) -> None:
        """From the sections to the form."""
        if self.pane_of(self.focused) == "sections":
            self.enter_pane("fields")

    def action_pane_left(self) -> None:
        """From the form to the sections."""
        if self.pane_of(self.focused) != "sections":
            self.enter_pane("sections")

    def _is_there(self, pane: str) -> bool:
        """Whether there is anything in a pane."""
        if pane == "toml":
            return self.has_class("-toml")
        return pane != "problems" or bool(self.recipe and self.recipe.problems)

    def action_zoom(self) -> None:
        """One pane on the whole screen."""
        self.toggle_class("-zoomed")

    def action_toml(self) -> None:
        """Show the text, or hide it."""
        self.toggle_class("-toml")
        if not self.has_class("-toml") and self.pane_of(self.focused) == "toml":
            self.enter_pane("fields")
        self.call_after_refresh(self.show_around)

    def action_find(self) -> None:
        """Ask for a key and go there."""

        def take(key: str | None) -> None:
            if key is not None:
                self.go_to(key)

        choices = [Choice(key, key, about) for key, about in find_choices(self.sections)]
        self.app.push_screen(ChooseScreen("Find a key", choices), take)

    def action_machine(self) -> None:
        """Ask for a type of GPU, then for a number."""
        recipe = self.recipe
        if recipe is None:
            return

        def take_gpu(gpu: str | None) -> None:
            if gpu is not None:
                self._ask_number(gpu)

        choices = [Choice(name, name or "this machine", about) for name, about in gpu_choices()]
        self.app.push_screen(ChooseScreen("Plan for", choices, current=recipe.machine.gpu), take_gpu)

    def _ask_number(self, gpu: str) -> None:
        recipe = self.recipe
        if recipe is None:
            return

        def take(number: str | None) -> None:
            if number is not None:
                recipe.machine = Machine(gpu, int(number or 0))
                self.changed()

        note = "Empty: as many as the recipe's launch table says."
        value = str(recipe.machine.gpus or "")
        self.app.push_screen(
            AskScreen("How many GPUs", value=value, note=note, refuse=_refuse_number), take
        )

    def action_preview(self) -> None:
        """Tokenise a few rows in a process of its own, and show them."""
        recipe = self.recipe
        if recipe is None:
            return
        document, bench = recipe.document, self.session.bench
        told = ToldScreen("data as the model will see it", "tokenising rows ...", legend=_LEGEND)
        self.app.push_screen(told)

        def work() -> None:
            try:
                answer = bench.preview(
                    document.text, document.path, document.overrides, count=_PREVIEWED_ROWS
                )
            except Superseded:
                return
            except StokerError as error:
                text = Content.styled(str(error), "$text-error")
            else:
                text = preview_text(read_preview(answer))
            self.app.call_from_thread(told.show, text)

        self.in_thread(work, "preview")


def _refuse_number(text: str) -> str:
    is_number = not text.strip() or (text.strip().isdecimal() and int(text) >= 1)
    return "" if is_number else "A number of at least 1, or nothing."
