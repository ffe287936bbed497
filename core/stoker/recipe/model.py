"""A resolved recipe: validated tables, where each value came from, and the text as launched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stoker.recipe.draft import ENABLED
from stoker.recipe.environment import conceal, values_behind, with_references
from stoker.recipe.schema import (
    CheckpointTable,
    DataTable,
    LaunchTable,
    ModelTable,
    RecipeTables,
    RunTable,
    TrainTable,
)


@dataclass(frozen=True)
class Recipe:
    """What a run is told to do. Built by `stoker.recipe.loading.load_recipe`, never by hand."""

    tables: RecipeTables = field(repr=False)
    """With the values of environment variables, which must not be shown."""
    path: Path
    """The file it was read from."""
    text: str = ""
    """That file's text, comments kept."""
    origins: dict[str, str] = field(default_factory=dict)
    """Where each leaf value came from, by dotted key.

    `default`, `plugin:lora` for the default of a plugin, `recipe.toml:12` or `--set`.
    """
    references: dict[str, str] = field(default_factory=dict)
    """Which environment variable a value came from, by dotted key."""

    @property
    def run(self) -> RunTable:
        return self.tables.run

    @property
    def model(self) -> ModelTable:
        return self.tables.model

    @property
    def data(self) -> DataTable:
        return self.tables.data

    @property
    def train(self) -> TrainTable:
        return self.tables.train

    @property
    def checkpoint(self) -> CheckpointTable:
        return self.tables.checkpoint

    @property
    def launch(self) -> LaunchTable:
        return self.tables.launch

    @property
    def plugins(self) -> dict[str, dict[str, Any]]:
        """Tables of the enabled plugins by name, without the `enabled` key."""
        return {
            name: {key: value for key, value in table.items() if key != ENABLED}
            for name, table in self.tables.plugins.items()
            if table.get(ENABLED, True)
        }

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as JSON-able tables; `env:NAME` as it was written."""
        return with_references(self.tables.model_dump(mode="json"), self.references)

    @cached_property
    def _hidden(self) -> dict[str, str]:
        return values_behind(self.tables.model_dump(mode="json"), self.references)

    def conceal(self, text: str) -> str:
        """A text with `env:NAME` in the place of the values of variables."""
        return conceal(text, self._hidden)

    def fingerprint(self, table: str | None = None) -> str:
        """SHA-256 of the resolved values, or of one table's: equal recipes train the same thing."""
        values = self.resolved()
        text = json.dumps(values if table is None else values[table], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
