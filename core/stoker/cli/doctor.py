"""`stoker doctor`: say what this machine can run, and how to get what is missing."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import click

from stoker.cli.report import WIDTH, wrap
from stoker.doctor.examination import Examination, examine
from stoker.doctor.finding import Finding, Status
from stoker.doctor.verdict import verdict
from stoker.errors import ExitCode

MARKS: dict[Status, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "missing": ("-", "bright_black"),
    "warning": ("!", "yellow"),
    "error": ("x", "red"),
}
"""Mark and colour."""

_HINT_INDENT = " " * 6
"""Under the name, so that commands fit a line."""

HELP = """Say what this machine can run, and how to get what is missing.

Looks at the system, torch and its devices, the extras, plugins, compilers, and at who holds a GPU.
Marks: ok; - missing, one may do without; ! a warning; x broken. Exits with 5 if something is broken.
"""


@click.command(help=HELP)
@click.option("as_json", "--json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Whatever may be broken is tried in a process of its own."""
    examination = examine()
    click.echo(json.dumps(examination.as_dict(), indent=1) if as_json else page(examination))
    if not examination.ok:
        sys.exit(ExitCode.ENVIRONMENT)


def page(examination: Examination) -> str:
    """The findings by group, and the verdict."""
    width = max(len(finding.name) for finding in examination.findings)
    lines: list[str] = []
    for group, findings in groupby(examination.findings, lambda finding: finding.group):
        lines += [group, *_group_lines(list(findings), width), ""]
    return "\n".join([*lines, *wrap(verdict(examination.findings, examination.devices))])


def _group_lines(findings: Sequence[Finding], width: int) -> Iterator[str]:
    for index, finding in enumerate(findings):
        yield from _finding_lines(finding, width)
        following = findings[index + 1].hint if index + 1 < len(findings) else ""
        # One command for several neighbours is said once, after the last of them.
        if finding.hint and finding.hint != following:
            yield from _wrap(finding.hint, _HINT_INDENT)


def _finding_lines(finding: Finding, width: int) -> Iterator[str]:
    mark, colour = MARKS[finding.status]
    first, *more = _wrap(finding.found, " " * (width + 8))
    name = finding.name.ljust(width)
    yield f"  {click.style(mark.ljust(2), fg=colour)}  {name}  {first.lstrip()}"
    yield from more


def _wrap(text: str, indent: str) -> list[str]:
    # Commands are to be copied: words stay in one piece.
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent]
