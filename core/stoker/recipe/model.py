"""A resolved recipe: validated tables, where each value came from, and the text as launched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

    tables: RecipeTables
    path: Path
    """The file it was read from."""
    text: str = ""
    """That file's text, comments kept."""
    origins: dict[str, str] = field(default_factory=dict)
    """Where each leaf value came from, by dotted key: `default`, `recipe.toml:12`, `--set`."""

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
            name: {key: value for key, value in table.items() if key != "enabled"}
            for name, table in self.tables.plugins.items()
            if table.get("enabled", True)
        }

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as JSON-able tables."""
        return self.tables.model_dump(mode="json")

    def fingerprint(self) -> str:
        """SHA-256 of the resolved values: equal recipes train the same thing."""
        text = json.dumps(self.resolved(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
