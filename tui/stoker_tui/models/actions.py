"""What the cockpit does to the world: always a `stoker` command in a process of its own.

So every action has a twin that a user can type, a crash on either side leaves the other alone, and
what is started belongs to no terminal.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from stoker.errors import UsageError
from stoker.run.directory import DEFAULT_PARENT, RunDirectory
from stoker.run.lines import clean

Change = Literal["stop", "resume", "checkpoint"]
"""What can be done to a run."""
_ENDINGS: Final[dict[Change, str]] = {
    "stop": "--no-wait",
    "resume": "--detach",
    "checkpoint": "--no-wait",
}
"""So that the command does not stay."""
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Done:
    """A command that was run."""

    command: str
    """As one would type it."""
    exit_code: int
    output: str
    """Standard output, control characters made harmless."""
    errors: str
    t: float = field(default_factory=time.time)
    """When it ended, in Unix seconds."""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def message(self) -> str:
        """What to tell the user: the output, or what went wrong."""
        return (self.output if self.ok else self.errors or self.output).strip()


Runner = Callable[[Sequence[str]], Done]


class Actions:
    """Runs commands, and keeps the log of them. Methods block: call them from a worker."""

    def __init__(self, folder: Path, *, read_only: bool = False, runner: Runner | None = None) -> None:
        """`folder` holds the runs; `runner` replaces real processes."""
        self.folder = folder
        self.read_only = read_only
        self.log: list[Done] = []
        self._runner = runner or run_stoker

    def launch(self, recipe: Path, *options: str) -> Done:
        """Start the run that a recipe describes, detached."""
        return self.change(*self.launching(recipe, *options))

    def launching(self, recipe: Path, *options: str) -> list[str]:
        """The arguments of the command that `launch` runs."""
        return ["run", str(recipe), *self._where, "--detach", *options]

    def changing(self, change: Change, run: RunDirectory, *options: str) -> list[str]:
        """The arguments of the command that stops, resumes or saves a run."""
        is_here = run.path.parent.absolute() == self.folder.absolute()
        name = run.name if is_here else str(run.path)
        return [change, name, *self._where, _ENDINGS[change], *options]

    def change(self, *arguments: str) -> Done:
        """Run a command that changes something. Raises `UsageError` when read-only."""
        if self.read_only:
            raise UsageError(f"read-only: `{twin(arguments)}` is not run.")
        return self.look(*arguments)

    def look(self, *arguments: str) -> Done:
        """Run a command that changes nothing."""
        done = self._runner(arguments)
        self.log.append(done)
        return done

    @property
    def _where(self) -> list[str]:
        """The option that names the runs folder, where it is not the default."""
        if self.folder.absolute() == DEFAULT_PARENT.absolute():
            return []
        return ["--run-dir", str(self.folder)]


def twin(arguments: Sequence[str]) -> str:
    """A command as one would type it."""
    return shlex.join(["stoker", *arguments])


def run_stoker(arguments: Sequence[str]) -> Done:
    """Run a `stoker` command to its end, without a terminal."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "stoker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return Done(twin(arguments), -1, "", f"no answer within {_TIMEOUT_SECONDS} s.")
    return Done(twin(arguments), done.returncode, clean(done.stdout), clean(done.stderr))
