"""What `stoker doctor` found, in words: what is broken comes first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from stoker_tui.models.actions import Done
from stoker_tui.models.styled import BLANK, Line, Piece, Tone, foreign, line, pad, wrap

Json = Mapping[str, Any]

MARKS: dict[str, tuple[str, Tone]] = {
    "error": ("✗", "bad"),
    "warning": ("!", "warning"),
    "missing": ("-", "muted"),
    "ok": ("✓", "good"),
}


def read_findings(done: Done) -> list[Json]:
    """Findings of `doctor --json`; raises `ValueError` with what was printed instead."""
    try:
        return list(json.loads(done.output)["findings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(done.message or "stoker doctor printed nothing") from error


def doctor_page(findings: list[Json], cells: int) -> list[Line]:
    """What is to be done, then everything by group."""
    wrong = [each for each in findings if each["status"] in ("error", "warning")]
    lines = [line(Piece(_verdict(wrong), "strong"))]
    for each in wrong:
        lines += [BLANK, *_finding(each, cells, 0)]
    for group, members in groupby(findings, lambda each: str(each["group"])):
        rows = list(members)
        width = min(24, max(len(str(each["name"])) for each in rows))
        lines += [BLANK, line(foreign(group, "accent"))]
        for each in rows:
            lines += _finding(each, cells, width)
    return lines


def _verdict(wrong: list[Json]) -> str:
    errors = sum(each["status"] == "error" for each in wrong)
    warnings = len(wrong) - errors
    if not wrong:
        return "Nothing is broken."
    return f"{errors} broken, {warnings} {'warning' if warnings == 1 else 'warnings'}"


def _finding(each: Json, cells: int, width: int) -> list[Line]:
    mark, tone = MARKS.get(str(each["status"]), ("?", "plain"))
    name = pad(str(each["name"]), width) if width else str(each["name"])
    indent = len(name) + 4
    found = wrap(str(each["found"]), cells - indent) or [BLANK]
    head = (Piece(f"{mark} ", tone), _padded(name), Piece("  "))
    lines = [(*head, *found[0]), *((Piece(" " * indent), *more) for more in found[1:])]
    hint = str(each.get("hint") or "")
    if hint and each["status"] != "ok":
        lines += [(Piece("    -> "), *more) for more in wrap(hint, cells - 7, "accent")]
    return lines


def _padded(text: str) -> Piece:
    """A name with its blanks kept."""
    blanks = len(text) - len(text.rstrip())
    return Piece(foreign(text).text + " " * blanks, "strong")
