"""The screen Plugins: what is installed, and what it does to the recipe in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.events import Resize
from textual.widgets import Static

from stoker_tui.keys import bind
from stoker_tui.models.actions import twin
from stoker_tui.models.doctor_page import doctor_page, read_findings
from stoker_tui.models.newest_run import newest_run
from stoker_tui.models.plugin_desk import PluginDesk
from stoker_tui.models.plugin_effect import Json
from stoker_tui.models.plugin_list import SIGNS, recipe_in_front, totals
from stoker_tui.models.styled import Line, Piece, line, wrap
from stoker_tui.screens.base import CockpitScreen
from stoker_tui.widgets.columns import Cell, Column
from stoker_tui.widgets.grid import Grid
from stoker_tui.widgets.text_pane import TextPane

_COLUMNS = (
    Column("name", "plugin", 24, share=1, most=28),
    Column("state", "state", 9),
    Column("version", "version", 8, priority=1),
    Column("from", "from", 12, share=1, most=24, priority=2),
)
_TONES = {"on": "success", "broken": "error", "missing": "error", "off": "muted", "unnamed": "muted"}
_STILL_SECONDS = 0.3
"""The cursor rests so long on a plugin before the recipe is planned with and without it."""


class PluginsScreen(CockpitScreen):
    """A table of plugins, a page about one of them; or what the doctor says."""

    TITLE_WORD: ClassVar[str] = "Plugins"
    HELP: ClassVar[str] = (
        "Plugins that are installed, read from metadata; they are imported only in other processes. The"
        " state is that of the recipe in front: Compose's draft, else the run's. The page tells what a"
        " plugin changes in its plan, measured with and without it. d asks the doctor what this machine"
        " can run; to switch a plugin on or off, go to Compose."
    )
    CSS_PATH = "plugins.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("d", "doctor", "Doctor", "What this machine can run, and what is missing.",
             id="plugins.doctor", twin="stoker doctor"),
        bind("z", "zoom", "Zoom", "Give the page all the room, or take it back.", id="plugins.zoom"),
        bind("tab", "turn", "Page", "To the page, and back to the list.", id="plugins.turn", show=False),
        bind("c", "copy_command", "Copy command", "Copy the command that shows the same.",
             id="plugins.copy_command", show=False),
        bind("y", "copy", "Copy", "Copy the page.", id="plugins.copy", show=False),
        bind("escape", "back", "Back", "Back to the list.", id="plugins.back", show=False),
    ]  # fmt: skip

    def __init__(self, desk: PluginDesk | None = None) -> None:
        """`desk` replaces the one that asks real processes."""
        super().__init__()
        self.desk = desk or PluginDesk()
        self._doctor: list[Json] | str | None = None
        """Findings, none while the doctor looks; what went wrong; None while a plugin is shown."""

    def compose_body(self) -> ComposeResult:
        """Totals, list, page."""
        yield Static(id="plugins-head", markup=False)
        with Container(id="plugins-body"):
            yield Grid(_COLUMNS, id="plugins-list", empty="reading")
            yield TextPane(id="plugins-page")

    def on_mount(self) -> None:
        """Read metadata, then try each import in a process of its own."""
        self.query_one(Grid).focus()
        self._do(self.desk.read, self._list, "read")
        self._do(self.desk.try_imports, self._list, "imports")

    def on_unmount(self) -> None:
        """The desk's process goes, too."""
        self.desk.close()

    def on_screen_resume(self) -> None:
        """Without a recipe, that of the newest run."""
        if recipe_in_front(self.session) is None:
            self.session.run = newest_run(self.session.folder)
        super().on_screen_resume()

    def beat(self) -> None:
        """Follow the recipe in front."""
        recipe = recipe_in_front(self.session)
        if recipe != self.desk.recipe:
            self.desk.recipe = recipe
            self._list()
            self._ask_effect()

    def on_resize(self, event: Resize) -> None:
        """The page is as wide as it is."""
        super().on_resize(event)
        self.call_after_refresh(self._show_page)

    def on_grid_highlighted(self, event: Grid.Highlighted) -> None:
        """Another plugin."""
        self._doctor = None
        self._show_page()
        self.query_one(TextPane).scroll_home(animate=False)
        self._do(lambda: self.desk.describe(event.key), self._show_page, "about")
        self.set_timer(_STILL_SECONDS, lambda: self._ask_effect(event.key))

    def on_grid_selected(self, event: Grid.Selected) -> None:
        """To its page."""
        self.action_turn()

    def action_turn(self) -> None:
        """From the list to the page, or back."""
        page, grid = self.query_one(TextPane), self.query_one(Grid)
        if self.focused is grid or not grid.display:
            page.focus()
        else:
            grid.focus()

    def action_zoom(self) -> None:
        """All the room to the page, or not."""
        self.toggle_class("-zoom")
        (self.query_one(TextPane) if self.has_class("-zoom") else self.query_one(Grid)).focus()
        self.call_after_refresh(self._show_page)

    def action_back(self) -> None:
        """The list, and the page of its plugin."""
        self._doctor = None
        self.remove_class("-zoom")
        self.query_one(Grid).focus()
        self.call_after_refresh(self._show_page)

    def action_doctor(self) -> None:
        """Ask, which takes some seconds."""
        self._doctor = []
        self._show_page()

        def ask(should_stop: Callable[[], bool]) -> list[Json] | str:
            try:
                return read_findings(self.session.actions.look("doctor", "--json"))
            except ValueError as error:
                return str(error)

        def answered(found: list[Json] | str) -> None:
            if self._doctor is not None:
                self._doctor = found
                self._show_page()

        self.look(ask, answered, "doctor")

    def action_copy(self) -> None:
        """The page's text."""
        self.app.copy_to_clipboard(self.query_one(TextPane).text)

    def action_copy_command(self) -> None:
        """The command line's twin of the page."""
        key = self.query_one(Grid).cursor_key
        command = ["plugins", key] if key and self._doctor is None else ["doctor"]
        self.app.copy_to_clipboard(twin(command))

    def _do(self, work: Callable[[], None], then: Callable[[], None], group: str) -> None:
        """Let the desk find out, then show what it knows."""
        self.look(lambda should_stop: work(), lambda nothing: then(), group)

    def _list(self) -> None:
        """The rows, and the page of the current one."""
        if not self.desk.is_read:
            return
        rows = self.desk.arrange(recipe_in_front(self.session))
        grid = self.query_one(Grid)
        grid.set_empty("No plugin is installed.")
        grid.show([row.name for row in rows], self._cells)
        recipe = self.desk.recipe
        place = recipe.title if recipe is not None else "no recipe is open"
        self.query_one("#plugins-head", Static).update(f"{totals(rows)}   ({place})")
        self._show_page()

    def _cells(self, key: str) -> list[Cell]:
        row = self.desk.rows[key]
        return [row.name, Text(SIGNS[row.state], _TONES[row.state]), row.version, row.distribution]

    def _show_page(self) -> None:
        page, name = self.query_one(TextPane), self.query_one(Grid).cursor_key
        cells = max(20, page.cells - 1)
        if self._doctor is not None:
            page.show("doctor", self._doctor_lines(cells))
        elif name is not None and name in self.desk.rows:
            page.show(name, self.desk.page(name, cells))

    def _doctor_lines(self, cells: int) -> list[Line]:
        if isinstance(self._doctor, str):
            return wrap(self._doctor, cells, "bad")
        if not self._doctor:
            return [line(Piece("looking at this machine: some seconds", "muted"))]
        return doctor_page(self._doctor, cells)

    def _ask_effect(self, name: str | None = None) -> None:
        """Plan twice, if the cursor still rests on that plugin, or wherever it is."""
        current = self.query_one(Grid).cursor_key
        if current is None or name not in (None, current) or not self.desk.needs_plan(current):
            return
        draft = self.session.draft
        machine = draft.machine.options if draft is not None else {}
        self._do(lambda: self.desk.plan(current, machine), self._show_page, "effect")
