"""Which directory `stoker run` uses: a new one, the next of its series, or the one to go on with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StokerError, UsageError
from stoker.recipe.model import Recipe
from stoker.run.change_rules import Change, covers
from stoker.run.directory import RunDirectory
from stoker.run.record import RESUMABLE_STATES, State

# Where a run lies and on how many ranks it runs do not change what it trains.
_IRRELEVANT_KEYS = ("run.directory", "launch")
_SHOWN_CHANGES = 3


@dataclass(frozen=True)
class Choice:
    """What `stoker run` would do. Nothing has been made yet."""

    directory: RunDirectory
    resume: bool
    changes: tuple[Change, ...] = ()
    """Values that are other than the run's, all of them such that do not change what is trained."""

    def adopt(self, recipe: Recipe) -> None:
        """Let the run go on with the recipe's values, while nobody else can start it."""
        if self.changes:
            from stoker.recipe.lock import write_lock

            write_lock(recipe, self.directory.lock_path)
            self.directory.update_record(recipe_hash=recipe.fingerprint())


Say = Callable[[str], None]


def say_nothing(text: str) -> None:
    """For those who do not care what takes so long."""


def choose_run(parent: Path, recipe: Recipe, fresh: bool, say: Say = say_nothing) -> Choice:
    """Decide by the newest run of the recipe's name: none or done -> new; left early -> go on with it.

    `say` gets a line where this takes seconds. Raises `UsageError` if it runs, if it failed, or if what
    the recipe trains has changed since it was left.
    """
    newest = None if fresh else _newest_of_series(parent, recipe.run.name)
    if newest is None:
        return Choice(RunDirectory(parent / _free_name(parent, recipe.run.name)), resume=False)
    state = newest.settled_state(say)
    if state == "done":
        return Choice(RunDirectory(parent / _free_name(parent, recipe.run.name)), resume=False)
    if state not in RESUMABLE_STATES:
        raise _not_resumable(newest, state)
    return Choice(newest, resume=True, changes=_safe_changes(newest, recipe, state))


def open_chosen(choice: Choice, recipe: Recipe) -> RunDirectory:
    """The directory that `choose_run` decided for, made where it is new.

    Raises `StorageError` if nothing can be written.
    """
    if choice.resume:
        return choice.directory
    return RunDirectory.create(choice.directory.path.parent, choice.directory.name, recipe)


def _numbered(parent: Path, name: str) -> list[tuple[int, Path]]:
    """Entries called `name`, `name-2`, `name-3` ..., with their numbers."""
    pattern = re.compile(rf"{re.escape(name)}(?:-([1-9][0-9]*))?")
    if not parent.is_dir():
        return []
    found = ((pattern.fullmatch(path.name), path) for path in parent.iterdir())
    return sorted((int(match[1] or 1), path) for match, path in found if match)


def _newest_of_series(parent: Path, name: str) -> RunDirectory | None:
    members = [RunDirectory(path) for _, path in _numbered(parent, name) if _is_member(path, name)]
    return members[-1] if members else None


def _is_member(path: Path, name: str) -> bool:
    """A recipe may itself be called `name-2`; its runs are a series of their own."""
    try:
        return RunDirectory(path).read_record().series == name
    except StokerError:
        if path.name == name:
            raise
        return False


def _free_name(parent: Path, name: str) -> str:
    numbered = _numbered(parent, name)
    return f"{name}-{max(numbered[-1][0] + 1, 2)}" if numbered else name


def _not_resumable(directory: RunDirectory, state: State) -> UsageError:
    name = directory.name
    if state == "failed":
        error = directory.read_record().error or {}
        reason = error.get("message") or "see its log"
        return UsageError(
            f"run {name!r} failed: {reason}",
            hint=f"Go on with it: stoker resume {name}. Or start a new one: add --fresh.",
        )
    return UsageError(
        f"run {name!r} is {state}.",
        hint=f"Look at it with: stoker watch {name}. Or start another one: add --fresh.",
    )


def _safe_changes(directory: RunDirectory, recipe: Recipe, state: State) -> tuple[Change, ...]:
    """Values that differ. Raises `UsageError` where one changes what is trained."""
    if directory.read_record().recipe_hash == recipe.fingerprint():
        return ()
    from stoker.recipe.lock import read_lock
    from stoker.run.changes import list_changes

    changes = [
        change
        for change in list_changes(read_lock(directory.lock_path, allow_unset=True), recipe)
        if not any(covers(ignored, change.key) for ignored in _IRRELEVANT_KEYS)
    ]
    unsafe = [change for change in changes if change.change_class != "safe"]
    if not unsafe:
        return tuple(changes)
    more = len(unsafe) - _SHOWN_CHANGES
    shown = "; ".join(f"{each.key}: {each.before} -> {each.after}" for each in unsafe[:_SHOWN_CHANGES])
    shown += f"; and {more} more" if more > 0 else ""
    raise UsageError(
        f"run {directory.name!r} is {state}, and the recipe has changed since: {shown}.",
        hint=f"Go on as it was: stoker resume {directory.name}, where --set and --allow-change change a "
        "value. Or start a new one: add --fresh.",
    )
