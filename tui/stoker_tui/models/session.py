"""What all screens share: where the runs are, what is looked at, and how to act."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.run.directory import DEFAULT_PARENT, RunDirectory
from stoker_tui.models.actions import Actions
from stoker_tui.models.settings import Settings

if TYPE_CHECKING:
    from stoker_tui.models.compose.bench import Bench
    from stoker_tui.models.open_recipe import OpenRecipe


@dataclass(frozen=True)
class Options:
    """How the cockpit was started."""

    read_only: bool = False
    ascii: bool = False
    """Characters below 0x80 only: no braille, no box drawing."""
    mouse: bool = True


@dataclass
class Session:
    """State of one cockpit; gone with it, and missed by nobody."""

    folder: Path = DEFAULT_PARENT
    """The folder that holds the runs."""
    options: Options = field(default_factory=Options)
    run: RunDirectory | None = None
    """The run that Watch and Logs show."""
    recipe: Path | None = None
    """The recipe to open in Compose when it comes to the front."""
    draft: OpenRecipe | None = None
    """What Compose edits and Plan shows; kept while other screens are in front."""
    clock: Callable[[], float] = time.time
    """Unix seconds; tests stop it."""
    settings: Settings = field(default_factory=Settings)
    """What is remembered from one time to the next."""
    actions: Actions = field(init=False)

    def __post_init__(self) -> None:
        self.actions = Actions(self.folder, read_only=self.options.read_only)

    @cached_property
    def bench(self) -> Bench:
        """Who checks and plans drafts, in a process of its own that the first request starts."""
        from stoker_tui.models.compose.bench import Bench

        return Bench()
