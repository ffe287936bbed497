"""What a recipe can be begun from: templates, recipes that come with stoker, one's own, and runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import stoker
from stoker.errors import StokerError
from stoker.recipe.layers import EXTENDS
from stoker.run.directory import RunDirectory
from stoker.scaffold.templates import find_template, find_templates
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.files import read_file
from stoker_tui.models.compose.from_run import document_of_run

Kind = Literal["template", "shipped", "file", "run"]

_MOST_RUNS = 200
_MOST_FILES = 500


@dataclass(frozen=True)
class StartingPoint:
    """Something to make a recipe of."""

    kind: Kind
    name: str
    summary: str
    path: Path
    """The template, the recipe, or the run's directory."""

    @property
    def title(self) -> str:
        """`template lora`, `run qwen-2`."""
        return f"{'recipe' if self.kind in ('shipped', 'file') else self.kind} {self.name}"

    def make(self, folder: Path) -> Document:
        """A document that will be saved in `folder`; of one's own file that file itself.

        Raises `UsageError` or `PluginError` for what cannot be read.
        """
        if self.kind == "file":
            return Document.open(self.path)
        if self.kind == "run":
            return document_of_run(RunDirectory(self.path), folder)
        if self.kind == "shipped":
            return self._copy(folder)
        from stoker.scaffold.fill import fill  # slow to import
        from stoker.scaffold.values import Values

        template = find_template(self.name)
        return Document(fill(template, Values(name=template.name), folder), source=self.title)

    def _copy(self, folder: Path) -> Document:
        """Of a shipped recipe; what it extends stays where it is."""
        document = Document(read_file(self.path), source=self.title)
        base = document.tables.get(EXTENDS)
        if isinstance(base, str):
            moved = os.path.relpath(self.path.parent / base, folder.absolute())
            document.set(EXTENDS, moved)
        return Document(document.text, source=self.title)


def open_asked(path: Path, folder: Path) -> Document:
    """The recipe at that path; of a run's own, a copy that will be saved in `folder`.

    Raises `UsageError` or `PluginError` for what cannot be read.
    """
    run = RunDirectory(path.parent)
    if path == run.recipe_path and run.record_path.is_file():
        return document_of_run(run, folder)
    return Document.open(path)


def starting_points(folder: Path, runs: Path) -> list[StartingPoint]:
    """Files in `folder` and `folder/recipes`, templates, shipped recipes, the newest runs."""
    return [*_files(folder), *_templates(), *shipped_recipes(), *_runs(runs)]


def shipped_recipes() -> list[StartingPoint]:
    """The recipes that come with stoker, in a wheel or in a checkout."""
    package = Path(stoker.__file__).parent
    places = (package / "recipes", package.parents[1] / "recipes")
    found = next((place for place in places if any(place.glob("*.toml"))), None)
    return [_point("shipped", path) for path in sorted(found.glob("*.toml"))] if found else []


def _templates() -> Iterable[StartingPoint]:
    for template in find_templates().values():
        try:
            yield StartingPoint("template", template.name, template.summary, template.path)
        except StokerError:
            continue  # a plugin's file that cannot be read


def _files(folder: Path) -> Iterable[StartingPoint]:
    """TOML files that begin as recipes do; others are of other programs."""
    shipped = {point.path.resolve() for point in shipped_recipes()}
    paths = [*sorted(folder.glob("*.toml")), *sorted((folder / "recipes").glob("*.toml"))]
    for path in paths[:_MOST_FILES]:
        if path.resolve() not in shipped and _is_recipe(path):
            yield _point("file", path)


def _is_recipe(path: Path) -> bool:
    try:
        text = read_file(path)
    except StokerError:
        return False
    return bool(re.search(r"^\s*(\[(run|model|train)\]|extends\s*=)", text, re.MULTILINE))


def _point(kind: Kind, path: Path) -> StartingPoint:
    return StartingPoint(kind, path.stem, _summary(path), path)


def _summary(path: Path) -> str:
    """The first sentence of its first comment."""
    try:
        lines = read_file(path).splitlines()
    except StokerError:
        return ""
    first = next((line for line in lines if re.match(r"#+[^#:]", line)), "")
    return first.lstrip("# ").strip()


def _runs(folder: Path) -> Iterable[StartingPoint]:
    found = []
    for path in folder.glob("*/recipe.toml"):
        try:
            found.append((path.stat().st_mtime, path.parent))
        except OSError:
            continue  # deleted meanwhile
    for _, path in sorted(found, reverse=True)[:_MOST_RUNS]:
        yield StartingPoint("run", path.name, "the recipe of this run, as it was started", path)
