"""All bindings of a screen in front, with those of the application: for help, commands and keymaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.screen import Screen

import stoker_tui
from stoker_tui.keys import Key, key_word
from stoker_tui.models.commands import PLACES, Command, named


@dataclass(frozen=True)
class Bound:
    """A binding, where it is, and whether it can be used now."""

    key: Key
    node: DOMNode
    enabled: bool

    @property
    def shown(self) -> str:
        """The key as it is printed on a keyboard."""
        return self.key.key_display or key_word(self.key.key)


def bound(screen: Screen[Any]) -> list[Bound]:
    """Our bindings that keys reach now: of what has the focus, of the screen, of the application."""
    found = []
    for active in screen.active_bindings.values():
        # Textual's copies of bindings have lost what ours know.
        stated = {key.id: key for key in keys_of(type(active.node))}
        if (known := stated.get(active.binding.id)) is not None:
            key = replace(known, key=active.binding.key, key_display=active.binding.key_display)
            found.append(Bound(key, active.node, active.enabled))
    return found


def commands_of(screen: Screen[Any]) -> list[Command]:
    """What the keys do, as commands: the screen's, then the focused pane's; not the application's."""
    here = sorted(bound(screen), key=lambda each: each.node is not screen)
    return [
        Command(
            named(each.key.description),
            each.key.tooltip,
            key=each.shown,
            twin=each.key.twin,
            action=each.key.action,
            changes=each.key.changes,
        )
        for each in here
        if each.enabled and not isinstance(each.node, App)
    ]


def screen_class(name: str) -> type[Screen[Any]]:
    """The class of one of `PLACES`. Imports it."""
    found: type[Screen[Any]] = getattr(
        import_module(f"stoker_tui.screens.{name}"), f"{name.title()}Screen"
    )
    return found


def screen_classes() -> Iterator[type[Screen[Any]]]:
    """The six screens, in the order of their digits. Imports them."""
    return (screen_class(each.name) for each in PLACES)


def keys_of(owner: type[DOMNode]) -> list[Key]:
    """The bindings that a class and its bases of this package state."""
    return [
        each
        for base in reversed(owner.__mro__)
        if base.__module__.startswith("stoker_tui.")
        for each in vars(base).get("BINDINGS", ())
        if isinstance(each, Key)
    ]


def all_ids() -> set[str]:
    """Ids that a user's keymap may name. Imports everything."""
    found: set[str] = set()
    for module in walk_packages(stoker_tui.__path__, "stoker_tui."):
        for owner in vars(import_module(module.name)).values():
            if isinstance(owner, type) and issubclass(owner, DOMNode):
                found |= {key.id for key in keys_of(owner) if key.id}
    return found
