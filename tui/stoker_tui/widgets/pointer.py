"""The glyph before the line of a cursor: colour alone does not show where it is, nor who has it."""

from __future__ import annotations


def pointer_of(has_focus: bool) -> str:
    """A full one where keys go, a slight one where a pane only remembers its line."""
    return "▸" if has_focus else "·"
