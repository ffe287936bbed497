"""What is copied, for terminals that take it to the clipboard and for those that do not."""

from __future__ import annotations

import base64
from typing import Final

from stoker_tui.models.places import copied_path, short

MOST_BYTES: Final = 74_994
"""Of base64 that common terminals take in one OSC 52 sequence."""


def fits(text: str) -> bool:
    """Whether terminals take the text."""
    return len(base64.b64encode(text.encode())) <= MOST_BYTES


def keep(text: str) -> str:
    """Write the text to a file, and say where; empty where it cannot be written."""
    path = copied_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError:
        return ""
    return short(path)


def told(text: str, place: str, *, in_clipboard: bool) -> str:
    """A sentence about what was copied where to."""
    lines = text.count("\n") + 1
    what = f"{lines} lines" if lines > 1 else f"{text[:60]}{'...' if len(text) > 60 else ''}"
    if not in_clipboard:
        return f"{what}: too long for the clipboard, in {place}" if place else f"{what}: not copied"
    return f"copied {what}; also in {place}" if place else f"copied {what}"
