"""ctrl+p: the commands of `:` in Textual's palette."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from stoker_tui.models.commands import Command

if TYPE_CHECKING:
    from stoker_tui.app import Cockpit


class Commands(Provider):
    """Nothing is here that cannot be typed after `:`."""

    @property
    def _commands(self) -> list[tuple[Command, Callable[[], None]]]:
        cockpit = cast("Cockpit", self.app)
        return [(each, partial(cockpit.run_typed, each.name)) for each in cockpit.commands(self.screen)]

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for command, run in self._commands:
            yield DiscoveryHit(_label(command), run, text=command.name, help=command.about)

    async def search(self, query: str) -> Hits:
        """Those whose name or description matches."""
        matcher = self.matcher(query)
        for command, run in self._commands:
            label = _label(command)
            score = max(matcher.match(label), matcher.match(command.about) / 2)
            if score > 0:
                yield Hit(score, matcher.highlight(label), run, text=command.name, help=command.about)


def _label(command: Command) -> str:
    return f"{command.name} ({command.key})" if command.key else command.name
