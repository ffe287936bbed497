"""Every key of every screen: named, explained, its own, and with a command that there is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import click
import pytest
from textual.binding import Binding
from textual.dom import DOMNode

import stoker_tui.screens
import stoker_tui.widgets
from stoker.cli import group
from stoker_tui import themes
from stoker_tui.app import Cockpit
from stoker_tui.bindings import keys_of, screen_classes
from stoker_tui.keys import Key

ROOT = Path(__file__).parents[2]
PACKAGE = Path(stoker_tui.screens.__file__).parents[1]


def classes_with_keys():
    """Screens, widgets and the application, those that state bindings themselves."""
    found = {Cockpit}
    for package in (stoker_tui.screens, stoker_tui.widgets):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            for each in vars(import_module(module.name)).values():
                if isinstance(each, type) and issubclass(each, DOMNode) and "BINDINGS" in vars(each):
                    found.add(each)
    return sorted(
        (each for each in found if each.__module__.startswith("stoker_tui.") and vars(each)["BINDINGS"]),
        key=lambda each: each.__name__,
    )


@pytest.mark.parametrize("owner", classes_with_keys(), ids=lambda owner: owner.__name__)
def test_its_bindings_have_all_that_help_and_keymaps_need(owner):
    stated = vars(owner)["BINDINGS"]
    assert all(isinstance(each, Key) for each in stated), "made by keys.bind"
    for each in stated:
        assert each.id, each
        assert re.fullmatch(r"[a-z_]+\.[a-z0-9_]+", each.id), each.id
        assert each.tooltip.endswith("."), f"{each.id}: a sentence"
        assert each.description, each.id


@pytest.mark.parametrize("owner", classes_with_keys(), ids=lambda owner: owner.__name__)
def test_a_key_does_one_thing(owner):
    keys = [key.key for each in keys_of(owner) for key in Binding.make_bindings([each])]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    assert not twice, f"{owner.__name__} binds {twice} twice"


def test_ids_are_unique():
    ids = Counter(each.id for owner in classes_with_keys() for each in vars(owner)["BINDINGS"])
    assert not [id for id, count in ids.items() if count > 1]


@pytest.mark.parametrize("owner", classes_with_keys(), ids=lambda owner: owner.__name__)
def test_upper_case_changes_the_world_and_nothing_else_does(owner):
    for each in vars(owner)["BINDINGS"]:
        letters = [key for key in each.key.split(",") if len(key) == 1 and key.isalpha()]
        if each.changes:
            assert letters, f"{each.id} changes something, and has no letter"
            assert all(key.isupper() for key in letters), each.id
            assert each.twin, f"{each.id} changes something: what is the command?"


def test_every_twin_is_a_command():
    context = click.Context(group)
    twins = {
        each.twin: each.id
        for owner in classes_with_keys()
        for each in vars(owner)["BINDINGS"]
        if each.twin
    }
    for twin, id in twins.items():
        program, name, *rest = shlex.split(twin)
        assert program == "stoker", id
        command = group.get_command(context, name)
        assert command is not None, f"{id}: stoker {name}"
        options = {option for parameter in command.params for option in parameter.opts}
        stated = {word.partition("=")[0] for word in rest if word.startswith("-")}
        assert stated <= options, f"{id}: stoker {name} has no {stated - options}"


def test_every_screen_says_what_it_is_for():
    for screen in screen_classes():
        assert screen.TITLE_WORD
        if keys_of(screen):
            assert screen.HELP.strip().endswith("."), screen.__name__


def test_the_page_of_the_guide_lists_the_keys():
    script = ROOT / "docs" / "write_keys.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"run python docs/write_keys.py\n{done.stderr}"


def test_colours_are_named_in_themes_only():
    hexes = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{8})\b")
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.tcss")]:
        if path.name != "themes.py":
            assert not hexes.findall(path.read_text()), path.name


@pytest.mark.parametrize("theme", themes.OWN, ids=lambda theme: theme.name)
def test_text_can_be_read_on_every_background(theme):
    colours = (
        theme.primary,
        theme.secondary,
        theme.warning,
        theme.error,
        theme.success,
        theme.foreground,
    )
    for background in (theme.background, theme.surface, theme.panel):
        for colour in colours:
            assert contrast(colour, background) >= 4.5, f"{colour} on {background}"


def contrast(first: str, second: str) -> float:
    """Contrast ratio of the Web Content Accessibility Guidelines 2.2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
