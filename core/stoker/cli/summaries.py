"""What a plugin says about itself in one line, read from its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path


def summary_without_import(point: EntryPoint) -> str:
    """First line of the docstring of the class an entry point names, or of its distribution.

    Source that cannot be found or parsed is no error here: `stoker plugins NAME` will say why.
    """
    source = _find_source(point.module)
    docstring = _class_docstring(source, point.attr) if source else ""
    if docstring:
        return docstring.strip().partition("\n")[0]
    metadata = point.dist.metadata if point.dist else None
    return metadata["Summary"] if metadata and "Summary" in metadata else ""


def _find_source(module: str) -> Path | None:
    """The file of a module. Its parent packages are only searched, not imported."""
    locations: Sequence[str] | None = None
    origin: str | None = None
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[:length]), locations)
        except KeyError:
            # A namespace package inside another package looks its parent up among the imported.
            return None
        if spec is None:
            return None
        locations, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def _class_docstring(source: Path, name: str) -> str:
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return ""
