"""What commands typed after `:` do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.screen import Screen

from stoker.errors import StokerError
from stoker.recipe.problems import did_you_mean
from stoker.run.directory import RunDirectory, find_run
from stoker_tui.bindings import bound, commands_of
from stoker_tui.models.actions import Change
from stoker_tui.models.commands import PLACES, Command, all_commands, find, split
from stoker_tui.screens.base import CockpitScreen

if TYPE_CHECKING:
    from stoker_tui.app import Cockpit


class Dispatch:
    """Runs commands on the application."""

    def __init__(self, cockpit: Cockpit) -> None:
        self._cockpit = cockpit

    def commands(self, screen: Screen[Any]) -> list[Command]:
        """What can be typed while that screen is in front."""
        return all_commands(commands_of(screen))

    def run(self, text: str) -> None:
        """Do what was typed; what is wrong with it is said."""
        name, argument = split(text)
        if not name:
            return
        commands = self.commands(self._cockpit.screen)
        command = find(name, commands)
        if command is None:
            guess = did_you_mean(name, [each.name for each in commands])
            self._say(f"There is no command {name!r}. {guess}".strip())
            return
        try:
            self._do(command, argument)
        except StokerError as error:
            self._say(f"{error.message} {error.hint}".strip())

    def _do(self, command: Command, argument: str) -> None:
        if command.action:
            self._act(command)
        elif command.changes:
            self._change(command, argument)
        elif command in PLACES:
            self._go(command, argument)
        else:
            self._view(command.name, argument)

    def _act(self, command: Command) -> None:
        """The action of a key, where the key would have found it."""
        for each in bound(self._cockpit.screen):
            if each.key.action == command.action:
                self._cockpit.call_later(self._cockpit.run_action, command.action, each.node)
                return

    def _go(self, command: Command, argument: str) -> None:
        session = self._cockpit.session
        if command.argument == "run" and argument:
            session.run = find_run(argument, session.folder)
        elif command.argument == "recipe" and argument:
            session.recipe = _existing(argument)
        screen = self._cockpit.screen
        if command.name == self._cockpit.current_mode and isinstance(screen, CockpitScreen):
            # It is in front already, and looks at what it is asked for when it comes there.
            screen.on_screen_resume()
        else:
            self._cockpit.action_go(command.name)

    def _change(self, command: Command, argument: str) -> None:
        """Change the run that is named, or that in front."""
        run, screen = self._run_called(argument), self._cockpit.screen
        if isinstance(screen, CockpitScreen):
            screen.change_run(cast("Change", command.name), run)

    def _run_called(self, name: str) -> RunDirectory:
        session = self._cockpit.session
        return session.run if not name and session.run else find_run(name or ".", session.folder)

    def _view(self, name: str, argument: str) -> None:
        cockpit = self._cockpit
        match name:
            case "theme" if argument:
                cockpit.choose_theme(argument)
            case "theme":
                cockpit.search_themes()
            case "screenshot":
                cockpit.deliver_screenshot()
            case "pause":
                cockpit.action_pause()
            case "log":
                cockpit.action_command_log()
            case "help":
                cockpit.action_help()
            case _:
                cockpit.exit()

    def _say(self, text: str) -> None:
        self._cockpit.notify(text, severity="error", markup=False)


def _existing(path: str) -> Path:
    from stoker.errors import UsageError

    found = Path(path).expanduser()
    if not found.is_file():
        raise UsageError(f"there is no recipe {path}.")
    return found
