"""What a plugin says about itself in one line, read from its source without running it."""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint
from pathlib import Path

from stoker.locate import locate


def summary_without_import(point: EntryPoint) -> str:
    """First line of the docstring of the class an entry point names, or of its distribution.

    Source that cannot be found or parsed is no error here: `stoker plugins NAME` will say why.
    """
    source = locate(point.module).file
    docstring = _class_docstring(source, point.attr) if source else ""
    if docstring:
        return docstring.strip().partition("\n")[0]
    metadata = point.dist.metadata if point.dist else None
    return metadata["Summary"] if metadata and "Summary" in metadata else ""


def _class_docstring(source: Path, name: str) -> str:
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return ""
