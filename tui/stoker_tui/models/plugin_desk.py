"""What the screen Plugins knows, and whom it asks. Methods that ask block: call them from a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stoker.errors import StokerError
from stoker_tui.models.actions import Runner, run_stoker
from stoker_tui.models.compose.bench import Bench
from stoker_tui.models.plugin_effect import Effect, Json, measure
from stoker_tui.models.plugin_list import (
    PluginRow,
    RecipeText,
    plugin_rows,
    plugin_tables,
    read_installed,
)
from stoker_tui.models.plugin_page import plugin_page
from stoker_tui.models.styled import Line


class PluginDesk:
    """The installed plugins, what is known about each, and the recipe they are looked at with."""

    def __init__(self, ask: Runner = run_stoker, bench: Bench | None = None) -> None:
        """`ask` runs a stoker command, `bench` plans; a bench of its own where none is given.

        Compose's would be asked to plan something else meanwhile, and the newest question wins there.
        """
        self.recipe: RecipeText | None = None
        self.rows: dict[str, PluginRow] = {}
        self._ask = ask
        self._bench = bench or Bench()
        self._installed: list[dict[str, str]] | None = None
        self._failures: dict[str, str] = {}
        self._about: dict[str, Json] = {}
        self._problems: dict[str, str] = {}
        self._effects: dict[tuple[str, str], Effect] = {}

    @property
    def is_read(self) -> bool:
        """Whether it is known what is installed."""
        return self._installed is not None

    def read(self) -> None:
        """What is installed, by metadata."""
        self._installed = read_installed()

    def try_imports(self) -> None:
        """Import each plugin in another process, and remember which fail."""
        try:
            self._bench.schema()
        except StokerError:
            return
        self._failures = dict(self._bench.failures)

    def arrange(self, recipe: RecipeText | None) -> list[PluginRow]:
        """The rows with what that recipe does with each plugin."""
        self.recipe = recipe
        rows = plugin_rows(self._installed or [], plugin_tables(recipe), self._failures)
        self.rows = {row.name: row for row in rows}
        return rows

    def describe(self, name: str) -> None:
        """Ask what a plugin does."""
        row = self.rows.get(name)
        if row is None or row.state == "missing" or name in self._about:
            return
        answer = self._ask(["plugins", name, "--json"])
        try:
            self._about[name] = json.loads(answer.output)
        except ValueError:
            self._problems[name] = answer.message

    def plan(self, name: str, machine: Mapping[str, Any]) -> None:
        """Plan the recipe with a plugin and without. `machine` are options of the bench's `plan`."""
        row, recipe = self.rows.get(name), self.recipe
        if row is None or recipe is None or not self.needs_plan(name):
            return
        effect = measure(self._bench, recipe, name, row.state == "on", machine)
        self._effects[name, recipe.text] = effect

    def needs_plan(self, name: str) -> bool:
        """Whether there is something to plan that has not been planned."""
        row, recipe = self.rows.get(name), self.recipe
        if row is None or recipe is None or row.state in ("broken", "missing"):
            return False
        return (name, recipe.text) not in self._effects

    def page(self, name: str, cells: int) -> list[Line]:
        """All that is known about a plugin."""
        effect = self._effects.get((name, self.recipe.text)) if self.recipe is not None else None
        about, problem = self._about.get(name), self._problems.get(name, "")
        return plugin_page(self.rows[name], about, problem, self.recipe, effect, cells)

    def close(self) -> None:
        """End the bench."""
        self._bench.close()
