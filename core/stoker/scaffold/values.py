"""What the command line states about a new recipe, checked, and as the recipe is to say it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from stoker.errors import UsageError
from stoker.recipe.paths import looks_local, plugin_of
from stoker.recipe.problems import did_you_mean
from stoker.recipe.schema import DataFormat
from stoker.recipe.words import one_of
from stoker.scaffold.guess import guess_format

_LONGEST_NAME = 64
_NOWHERE = Path(os.devnull)


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the command line states; paths are seen from where stoker is called."""

    name: str
    model: str | None = None
    data: str | None = None
    data_format: str | None = None


def legal_name(text: str) -> str:
    """A run's name that is as close to `text` as the rules for names allow; may be empty."""
    ends_cut = re.sub(r"^[^a-z0-9]+|[^a-z0-9._-]+$", "", text.lower())
    return re.sub(r"[^a-z0-9._-]+", "-", ends_cut)[:_LONGEST_NAME]


def checked_name(name: str) -> str:
    """The name itself. Raises `UsageError` for one that a run cannot have."""
    legal = legal_name(name)
    if not name or name != legal:
        raise UsageError(
            f"a run cannot be called {name!r}: lower case letters, digits, '.', '_' and '-', at most "
            f"{_LONGEST_NAME}.",
            hint=f"Take {legal!r}." if legal else "",
        )
    return name


def written_path(path: str, folder: Path) -> str:
    """How a recipe in `folder` says what the command line calls `path`.

    An absolute path stays absolute unless it leads into that folder. Raises `UsageError` for what no
    recipe can hold.
    """
    if not path.isprintable():
        raise UsageError(f"{path!r} has characters that a recipe cannot hold.")
    if not looks_local(path, Path.cwd()):
        return path
    given = os.path.expanduser(path)
    absolute = os.path.abspath(given)
    if os.path.isabs(given) and not Path(absolute).is_relative_to(folder):
        return absolute
    relative = os.path.relpath(absolute, folder)
    return relative if looks_local(relative, _NOWHERE) else f"./{relative}"


def data_format_of(path: str, stated: str | None, own: DataFormat | None) -> DataFormat | None:
    """The format as stated, or as guessed; None for a plugin's source, which knows its own.

    `own` is what the template learns from. Raises `UsageError` for what cannot be guessed or does not
    suit the template.
    """
    if stated is not None:
        return _checked_format(stated)
    if plugin_of(path):
        return None
    local = os.path.expanduser(path)
    if not os.path.exists(local):
        raise UsageError(
            f"{path!r} is no file or folder here, and what is on the hub cannot be looked into.",
            hint=f"Check the spelling, or state its format: --format {one_of(get_args(DataFormat))}.",
        )
    guessed = guess_format(Path(local), own)
    if own == "text" and guessed != "text":
        raise UsageError(
            f"this template learns from text, and {path} has rows of format {guessed!r}.",
            hint="Take another template, or add --format to have it all the same.",
        )
    return guessed


def _checked_format(stated: str) -> DataFormat:
    formats: tuple[DataFormat, ...] = get_args(DataFormat)
    for known in formats:
        if stated == known:
            return known
    hint = did_you_mean(stated, formats) or f"Expected {one_of(formats)}."
    raise UsageError(f"--format: there is no format {stated!r}.", hint=hint)
