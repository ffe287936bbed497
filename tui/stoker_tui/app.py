"""The application: its modes, its global keys, its beat. What screens do is in the screens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.dom import DOMNode
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import Theme

from stoker_tui import clipboard, themes
from stoker_tui.bindings import screen_class
from stoker_tui.dispatch import Dispatch
from stoker_tui.keys import bind, key_word
from stoker_tui.models.commands import PLACES, Command
from stoker_tui.models.session import Session
from stoker_tui.palette import Commands
from stoker_tui.screens.base import CockpitScreen
from stoker_tui.screens.command_line import CommandLine
from stoker_tui.screens.command_log import CommandLogScreen
from stoker_tui.screens.confirm import ConfirmScreen
from stoker_tui.screens.help import HelpScreen

_TICK_SECONDS = 0.1
_BLURRED_BEAT_SECONDS = 5.0
_SECOND_CTRL_C_SECONDS = 2.0


def _screen(name: str) -> Callable[[], Screen[Any]]:
    """Makes a screen, importing it when it is first shown."""
    return lambda: screen_class(name)()


_GO = [
    bind(each.key, f"go('{each.name}')", each.name.title(), each.about,
         id=f"go.{each.name}", twin=each.twin, show=False)
    for each in PLACES
]  # fmt: skip


class Cockpit(App[int]):
    """Six screens as modes, so that each keeps its state while another is in front."""

    TITLE = "stoker"
    ENABLE_COMMAND_PALETTE = True
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        each.name: _screen(each.name) for each in PLACES
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *_GO,
        bind("?", "help", "Help", "Keys and signs of this screen.", id="app.help", show=False),
        bind(":", "command_line", "Commands", "Type a command.", id="app.commands", show=False),
        bind("@", "command_log", "Log", "The commands that were run.", id="app.log", show=False),
        bind("p", "pause", "Pause", "Hold the view still; runs go on.", id="app.pause", show=False),
        bind("ctrl+c", "interrupt", "Copy", "Copy what is selected; twice: leave.",
             id="app.interrupt", show=False),
        bind("ctrl+p", "command_palette", "Palette", "The same commands, as a list to search.",
             id="app.palette", show=False),
        bind("q", "quit", "Quit", "Leave the cockpit; runs go on.", id="app.quit"),
    ]  # fmt: skip
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Commands}
    CSS_PATH = "app.tcss"

    def __init__(
        self,
        session: Session,
        start: str = "runs",
        *,
        driver_class: type[Driver] | None = None,
        theme: str = themes.DARK.name,
        keymap: Mapping[str, str] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """`start`: the screen in front. `notes` are said at the start: what was wrong with settings."""
        super().__init__(
            driver_class=driver_class, ansi_color=True if theme == themes.SIXTEEN_COLOURS else None
        )
        for each in themes.OWN:
            self.register_theme(each)
        if theme in self.available_themes:
            self.theme = theme
        self.session = session
        self.paused = False
        self.set_keymap(dict(keymap or {}))
        self._start = start
        self._notes = notes
        self._dispatch = Dispatch(self)
        self._typed: list[str] = []
        self._blurred = False
        self._last_beat = float("-inf")
        self._interrupted = float("-inf")

    def on_mount(self) -> None:
        """Show the first screen and begin to beat."""
        self.switch_mode(self._start)
        self.set_interval(_TICK_SECONDS, self._beat)
        self.theme_changed_signal.subscribe(self, self._note_theme)
        for note in self._notes:
            self.notify(note, severity="warning", markup=False)

    def on_unmount(self) -> None:
        """Who still waits for an answer about a draft need not."""
        if "bench" in self.session.__dict__:
            self.session.bench.close()

    def get_key_display(self, binding: Binding) -> str:
        """A key as the footer shows it."""
        is_word = not binding.key_display and key_word(binding.key) == binding.key
        return binding.key if is_word else super().get_key_display(binding)

    def action_go(self, mode: str) -> None:
        """Bring a screen to the front."""
        self.switch_mode(mode)

    async def action_quit(self) -> None:
        """Leave; asks first where a recipe would be lost."""
        draft = self.session.draft
        if draft is None or not draft.document.has_work:
            self.exit()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.exit()

        lines = ["Leaving loses them; w in Compose saves them."]
        self.push_screen(ConfirmScreen(f"{draft.title} has changes.", lines), answered)

    def action_help(self) -> None:
        """Explain the screen in front."""
        self.push_screen(HelpScreen(self.screen))

    def action_command_log(self) -> None:
        """Show what was run."""
        self.push_screen(CommandLogScreen(self.session.actions.log))

    def action_pause(self) -> None:
        """Hold the view still, or let it go on."""
        self.paused = not self.paused
        if isinstance(self.screen, CockpitScreen):
            self.screen.note_state()

    async def action_interrupt(self) -> None:
        """Ctrl-C with nothing selected: not the way out, unless it is meant."""
        now = time.monotonic()
        if now - self._interrupted < _SECOND_CTRL_C_SECONDS:
            if isinstance(self.screen, ConfirmScreen):
                self.exit()  # asked, and answered by Ctrl-C once more
            else:
                await self.action_quit()
            return
        self._interrupted = now
        self.notify("q leaves; runs go on. Ctrl-C again leaves, too.", timeout=_SECOND_CTRL_C_SECONDS)

    def action_command_line(self) -> None:
        """Ask for a command and run it."""
        line = CommandLine(
            self.commands(self.screen), self.session.folder, sorted(self.available_themes), self._typed
        )
        self.push_screen(line, self._entered)

    def commands(self, screen: Screen[Any]) -> list[Command]:
        """What can be typed while that screen is in front."""
        return self._dispatch.commands(screen)

    def run_typed(self, text: str) -> None:
        """Do what was typed after `:`."""
        self._dispatch.run(text)

    def choose_theme(self, name: str) -> None:
        """Other colours, remembered for the next time."""
        if name not in self.available_themes:
            self.notify(f"There is no theme {name!r}.", severity="error", markup=False)
            return
        self.theme = name

    def copy_to_clipboard(self, text: str) -> None:
        """To the clipboard where the terminal can (OSC 52), to a file in any case; says where to."""
        in_clipboard = clipboard.fits(text)
        if in_clipboard:
            super().copy_to_clipboard(text)
        self.notify(clipboard.told(text, clipboard.keep(text), in_clipboard=in_clipboard), markup=False)

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Two bindings of the user's keymap want one key: say so, once."""
        names = ", ".join(sorted(each.id or each.action for each in clashed_bindings))
        message = f"keys.toml takes the key of {names}"
        if message not in self._notes:
            self._notes = (*self._notes, message)
            self.notify(message, severity="warning", markup=False)

    def on_app_blur(self) -> None:
        """Nobody looks: beat less often."""
        self._blurred = True

    def on_app_focus(self) -> None:
        """Somebody looks: be up to date at once."""
        self._blurred = False
        self._last_beat = float("-inf")
        self._beat()

    def _note_theme(self, theme: Theme) -> None:
        if theme.name != themes.SIXTEEN_COLOURS:
            self.session.settings.remember("view", theme=theme.name)

    def _entered(self, text: str | None) -> None:
        if not text:
            return
        if text not in self._typed[-1:]:
            self._typed.append(text)
        self.run_typed(text)

    def _beat(self) -> None:
        # Between the last screen and the end there is none.
        screen, now = next(reversed(self.screen_stack), None), time.monotonic()
        if not isinstance(screen, CockpitScreen) or not screen.was_shown:
            return
        period = _BLURRED_BEAT_SECONDS if self._blurred else screen.BEAT_SECONDS
        # A little early is on time: the timer is not exact.
        if now - self._last_beat < period - _TICK_SECONDS / 2:
            return
        self._last_beat = now
        if self.session.run is not None:
            self.session.settings.remember("session", run=self.session.run.name)
        screen.note_state()
        if not self.paused:
            screen.beat()
