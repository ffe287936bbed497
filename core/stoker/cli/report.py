"""How errors look on a terminal: short paragraphs that fit it, on standard error."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import click

from stoker.errors import RecipeError, StokerError
from stoker.recipe.problems import Problem

WIDTH = 80
MAX_LINES = 24


def report_error(error: StokerError) -> None:
    """Say what went wrong and what to do."""
    if isinstance(error, RecipeError):
        report_problems(error.problems)
        return
    for line in wrap(f"stoker: {error.message}") + wrap(error.hint):
        click.echo(line, err=True)


def report_problems(problems: Sequence[Problem]) -> None:
    """Print problems, one paragraph each, as many as fit a screen, and say how many are left."""
    for line in problem_lines(problems):
        click.echo(line, err=True)


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """At most `MAX_LINES` lines."""
    lines: list[str] = []
    for number, problem in enumerate(problems):
        paragraph = _shortened(_paragraph(problem))
        room = MAX_LINES - (number < len(problems) - 1)
        if lines and len(lines) + len(paragraph) > room:
            left = len(problems) - number
            return [*lines, f"and {left} more; --json shows all of them."]
        lines += paragraph
    return lines


def _shortened(paragraph: list[str]) -> list[str]:
    """One that alone fits a screen, with the line about what is left."""
    most = MAX_LINES - 1
    return paragraph if len(paragraph) <= most else [*paragraph[: most - 1], "  ..."]


def _paragraph(problem: Problem) -> list[str]:
    text = problem.render()
    return wrap(f"warning: {text}" if problem.severity == "warning" else text)


def wrap(text: str) -> list[str]:
    """Lines of at most 80 columns where words allow; continuation lines are indented."""
    paragraphs = text.splitlines()
    return [line for paragraph in paragraphs for line in _wrap_paragraph(paragraph)]


def _wrap_paragraph(text: str) -> Iterable[str]:
    # Paths are to be copied: they stay in one piece.
    return textwrap.wrap(
        text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
