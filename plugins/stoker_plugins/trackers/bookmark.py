"""How far a tracker has come, kept in the run directory, so that the next attempt goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from stoker.run.files import replace_file


@dataclass
class Bookmark:
    """What one tracker has of a run."""

    path: Path
    position: int = 0
    """Bytes of `events.jsonl` that it has been given."""
    seen: dict[str, int] = field(default_factory=dict)
    """The last step it was given, by source: see `readings.source`."""
    run_id: str = ""
    """Of the tracker, where it is not ours to choose."""
    configured: bool = False
    """Whether it has the recipe."""
    v: int = 1

    @classmethod
    def read(cls, path: Path) -> Bookmark:
        """The one that was saved, or a new one at the start. Raises `ValueError` if it is damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(path)
        known = {entry.name for entry in fields(cls)} - {"path"}
        return cls(path, **{name: value for name, value in values.items() if name in known})

    def save(self) -> None:
        """Raises `StorageError`."""
        values = asdict(self)
        del values["path"]
        replace_file(self.path, json.dumps(values) + "\n")
