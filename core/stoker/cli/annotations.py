"""Problems as workflow commands of GitHub Actions, which show them at their lines of a change."""

from __future__ import annotations

import os
from pathlib import Path

from stoker.recipe.overrides import OVERRIDE
from stoker.recipe.problems import Problem, printable


def annotation(problem: Problem) -> str:
    """`::error file=...,line=...,col=...,title=KEY::message`; what is not known is left out."""
    on_file = problem.file not in ("", OVERRIDE)
    properties = {
        "file": _relative(problem.file) if on_file else "",
        "line": problem.line,
        "col": problem.column,
        "title": problem.key,
    }
    stated = ",".join(
        f"{name}={_escape(str(value), special=':,')}" for name, value in properties.items() if value
    )
    message = f"{problem.message} {problem.hint}".strip()
    if problem.file == OVERRIDE:
        message = f"{OVERRIDE}: {message}"
    return f"::{problem.severity} {stated}".rstrip() + f"::{printable(_escape(message))}"


def _relative(file: str) -> str:
    """GitHub finds files by their path in the repository, which is where a workflow's steps run."""
    path, here = Path(file), Path.cwd()
    inside = path.is_absolute() and path.is_relative_to(here)
    return os.path.relpath(path, here) if inside else file


def _escape(text: str, special: str = "") -> str:
    """As GitHub's own toolkit escapes: `%` and line ends, and what separates properties."""
    for character in "%\r\n" + special:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
