"""Where a module and its package lie, found without running any of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """What was found of a module; all None if it is not there."""

    file: Path | None = None
    """Its source."""
    package: Path | None = None
    """The folder of the package that it is, or lies in."""


def locate(module: str) -> Place:
    """Search for a module; its parent packages are searched too, and not imported."""
    locations: Sequence[str] | None = None
    origin: str | None = None
    folder: str | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        try:
            spec = PathFinder.find_spec(name, locations)
        except KeyError:
            # A namespace package inside another package looks its parent up among the imported.
            return Place()
        if spec is None:
            return Place()
        locations, origin = spec.submodule_search_locations, spec.origin
        # The last part may be a module; its folder is then that of the package before it.
        folder = next(iter(locations), None) if locations is not None else folder
    is_source = origin is not None and origin.endswith(".py")
    return Place(Path(origin) if origin and is_source else None, Path(folder) if folder else None)
