"""Key bindings that know their command-line twin, and whether they change the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding
from textual.keys import format_key

_IN_WORDS = frozenset({"enter", "backspace", "up", "down", "left", "right"})


@dataclass(frozen=True)
class Key(Binding):
    """A binding with what the help screen, the command log and `--read-only` need.

    `id` is stable and unique: users' keymaps name it. `tooltip` is the sentence of the help screen.
    """

    twin: str = ""
    """The command that does the same from a shell; empty where the key only moves about the screen."""
    changes: bool = False
    """Whether it changes anything beyond the screen: an upper-case key, inert when read-only."""


def bind(
    key: str,
    action: str,
    label: str,
    about: str,
    *,
    id: str,
    twin: str = "",
    changes: bool = False,
    show: bool = True,
    priority: bool = False,
    display: str | None = None,
) -> Key:
    """A `Key`. `label` is for the footer, `about` for help; `show`: in the footer, too."""
    return Key(
        key,
        action,
        label,
        show=show,
        key_display=display,
        priority=priority,
        tooltip=about,
        id=id,
        twin=twin,
        changes=changes,
    )


def changing_actions(bindings: Iterable[object]) -> frozenset[str]:
    """Names of the actions, without arguments, that are inert when read-only."""
    found = (each for each in bindings if isinstance(each, Key) and each.changes)
    return frozenset(each.action.partition("(")[0] for each in found)


def key_word(key: str) -> str:
    """A key as people read it; in words where ASCII would make its sign another key, `<` for left."""
    return key if key in _IN_WORDS else format_key(key)
