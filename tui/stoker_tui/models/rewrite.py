"""What choosing a candidate of `plan --compare` does to a recipe's text."""

from __future__ import annotations

import difflib

from stoker_tui.models.comparison_view import CandidateView
from stoker_tui.models.compose.choose import Change, changes
from stoker_tui.models.compose.document import Document
from stoker_tui.models.compose.kinds import Schema


def changes_of(candidate: CandidateView, document: Document, schema: Schema) -> list[Change]:
    """What makes the recipe say what the candidate is; nothing where it does."""
    return list(changes(document, candidate.row, schema))


def rewritten(document: Document, edits: list[Change]) -> str:
    """The text with these changes; the document stays as it is. Raises `EditError`."""
    copy = Document(document.text, document.path, overrides=document.overrides)
    copy.apply_all(edits, "try")
    return copy.text


def diff_lines(before: str, after: str) -> list[str]:
    """A unified diff with a line around each change, without its head."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++"))]
