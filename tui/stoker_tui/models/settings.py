"""What the cockpit remembers from one time to the next: which run, which charts, which theme."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import tomli

from stoker.recipe.words import toml_text

Value: TypeAlias = "str | int | float | bool | list[str]"


@dataclass
class Settings:
    """Values by table and key. Kept in memory only where there is no `path`."""

    path: Path | None = None
    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    problem: str = ""
    """Why the file was ignored; empty where it was not."""

    def get(self, table: str, key: str, default: str = "") -> str:
        """A remembered text."""
        value = self.values.get(table, {}).get(key, default)
        return value if isinstance(value, str) else default

    def table(self, name: str) -> Mapping[str, Value]:
        """All that is remembered under one heading."""
        return self.values.get(name, {})

    def remember(self, table: str, **values: Value) -> None:
        """Keep values, and write the file where one of them is new. A disk that is full is no matter."""
        known = self.values.setdefault(table, {})
        if values.items() <= known.items():
            return
        known.update(values)
        if self.path is not None:
            _write(self.path, self.to_toml())

    def to_toml(self) -> str:
        """The file's text."""
        lines = ["# What `stoker tui` remembers. It can be deleted at any time."]
        for name, table in self.values.items():
            lines += ["", f"[{name}]", *(f"{key} = {toml_text(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def read_settings(path: Path) -> Settings:
    """The settings of a file; a file that is damaged is ignored, with a `problem`."""
    try:
        values = tomli.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings(path)
    except (OSError, ValueError) as error:
        return Settings(path, problem=f"{path.name} is ignored: {error}")
    tables = {name: _kept(table) for name, table in values.items() if isinstance(table, dict)}
    return Settings(path, tables)


def _kept(table: dict[str, object]) -> dict[str, Value]:
    """Without what no version of the cockpit writes."""
    kept: dict[str, Value] = {}
    for key, value in table.items():
        if isinstance(value, str | int | float | bool):
            kept[key] = value
        elif isinstance(value, list):
            kept[key] = [str(each) for each in value]
    return kept


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, "utf-8")
        draft.replace(path)
    except OSError:
        return
