"""The command line `:`: what can be typed, what it stands for, and how it is completed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Argument = Literal["", "run", "recipe", "theme"]


@dataclass(frozen=True)
class Command:
    """Something that can be typed after `:`."""

    name: str
    about: str
    argument: Argument = ""
    """What it wants to be told; a run and a recipe may be left out for those in front."""
    aliases: tuple[str, ...] = ()
    key: str = ""
    """The key that does the same."""
    twin: str = ""
    action: str = ""
    """The action of the screen, where it is one; else the application knows by the name."""
    changes: bool = False


@dataclass(frozen=True)
class Candidate:
    """A way to complete what was typed."""

    text: str
    about: str = ""


PLACES = (
    Command("runs", "All runs.", aliases=("r",), key="1", twin="stoker runs"),
    Command("compose", "Compose a recipe.", "recipe", ("open", "edit"), "2", "stoker new"),
    Command("plan", "What a recipe needs, takes and costs.", "recipe", key="3",
            twin="stoker plan --compare RECIPE"),
    Command("watch", "One run, live or finished.", "run", ("w",), "4", "stoker watch RUN"),
    Command("logs", "What the ranks of a run wrote.", "run", ("l",), "5", "stoker logs RUN"),
    Command("plugins", "What is installed.", key="6", twin="stoker plugins"),
)  # fmt: skip
"""The six screens, in the order of their digits."""
_CHANGES = (
    Command("stop", "Save a run and stop it.", "run", twin="stoker stop RUN", changes=True),
    Command("resume", "Go on with a run that stopped.", "run", twin="stoker resume RUN", changes=True),
    Command("checkpoint", "Save a run now.", "run", twin="stoker checkpoint RUN", changes=True),
)
_VIEW = (
    Command("pause", "Hold the view still; runs go on.", key="p"),
    Command("theme", "Choose other colours.", "theme", ("colours", "colors")),
    Command("log", "The commands that were run.", aliases=("history",), key="@"),
    Command("screenshot", "Write the screen to an SVG file."),
    Command("help", "Keys and signs of this screen.", aliases=("h", "keys"), key="?"),
    Command("quit", "Leave the cockpit; runs go on.", aliases=("q", "q!", "exit", "wq"), key="q"),
)
BUILT_IN: tuple[Command, ...] = (*PLACES, *_CHANGES, *_VIEW)


def named(label: str) -> str:
    """What to type for a binding's label: `Log scale` is `log-scale`."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def all_commands(of_screen: Iterable[Command]) -> list[Command]:
    """Those of the screen in front, which come first, and those that are always there."""
    found: dict[str, Command] = {}
    taken = {name for command in BUILT_IN for name in (command.name, *command.aliases)}
    for command in of_screen:
        if command.name and command.name not in taken:
            found.setdefault(command.name, command)
    return [*found.values(), *BUILT_IN]


def split(text: str) -> tuple[str, str]:
    """`watch  qwen ` is `("watch", "qwen")`."""
    name, _, argument = text.strip().removeprefix(":").strip().partition(" ")
    return name, argument.strip()


def find(name: str, commands: Sequence[Command]) -> Command | None:
    """The command called so, else the only one whose name begins so."""
    for command in commands:
        if name == command.name or name in command.aliases:
            return command
    beginning = [command for command in commands if name and command.name.startswith(name)]
    return beginning[0] if len(beginning) == 1 else None


def complete(
    text: str, commands: Sequence[Command], folder: Path, themes: Sequence[str]
) -> list[Candidate]:
    """Ways to go on from `text`: names of commands, then what the command wants to be told."""
    name, space, typed = text.lstrip().partition(" ")
    if not space:
        return [Candidate(_typed(each), each.about) for each in commands if _begins(each, name)]
    command = find(name, commands)
    if command is None:
        return []
    typed = typed.lstrip()
    return [Candidate(f"{name} {each}") for each in _values(command.argument, typed, folder, themes)]


def _begins(command: Command, text: str) -> bool:
    return any(each.startswith(text) for each in (command.name, *command.aliases))


def _typed(command: Command) -> str:
    return f"{command.name} " if command.argument else command.name


def _values(argument: Argument, typed: str, folder: Path, themes: Sequence[str]) -> list[str]:
    if argument == "run":
        return [name for name in run_names(folder) if typed in name]
    if argument == "recipe":
        return [path for path in recipe_paths(typed) if path.startswith(typed)]
    return [theme for theme in themes if typed in theme] if argument == "theme" else []


def run_names(folder: Path) -> list[str]:
    """Names of runs, newest first, without reading them."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.stat().st_mtime, entry.name) for entry in entries if _is_run(entry)]
    except OSError:
        return []
    return [name for _, name in sorted(found, reverse=True)]


def _is_run(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def recipe_paths(typed: str) -> list[str]:
    """Recipes of the folder that is being typed, and of `recipes/` while there is none."""
    folder = typed.rpartition("/")[0]
    folders = [folder or "/"] if "/" in typed else ["", "recipes"]
    found = []
    for each in folders:
        for path in sorted(Path(each or ".").glob("*")):
            shown = f"{each.rstrip('/')}/{path.name}" if each else path.name
            if path.is_dir() and "/" in typed:
                found.append(f"{shown}/")
            elif path.suffix == ".toml":
                found.append(shown)
    return found
