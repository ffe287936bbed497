"""The process that mirrors a run: `python -m stoker_plugins.trackers.main RUN ATTEMPT`.

It reads what the run writes to disk anyway, so the run waits for no tracker, and whatever a tracker
does - block, raise, crash, fill its memory - it does not do to rank 0. It ends with rank 0: an `Ending`
on standard input says how, and the end of standard input alone that rank 0 is gone.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from stoker.recipe.lock import read_lock
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.files import make_private_directory
from stoker_plugins.trackers.bookmark import Bookmark
from stoker_plugins.trackers.config import TrackersConfig
from stoker_plugins.trackers.ending import SECONDS_TO_LEAVE, Ending
from stoker_plugins.trackers.environment import tracker_directory
from stoker_plugins.trackers.follower import Follower
from stoker_plugins.trackers.readings import flattened

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe

_SECONDS_BETWEEN_LOOKS: Final = 0.1
_NICENESS: Final = 10
"""Cores are for training."""
_LONGEST_MESSAGE: Final = 400


def main() -> None:
    """Mirror until the run is over."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # Sent to all processes of a job; what rank 0 does about it is to be mirrored, too.
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    with suppress(OSError):
        os.nice(_NICENESS)
    directory, attempt = RunDirectory(Path(sys.argv[1])), int(sys.argv[2])
    # MLflow would say that the run was made by this file, at the commit of the folder it lies in.
    sys.argv = ["stoker run"]
    code = 1
    try:
        mirror(directory, attempt)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads of trackers that block, and what libraries do at exit, would keep this process.
        os._exit(code)


def mirror(directory: RunDirectory, attempt: int) -> None:
    """Hand the run's events on until it is over."""
    recipe = read_lock(directory.lock_path)
    config = TrackersConfig.model_validate(recipe.plugins["trackers"])
    overseer = Overseer(directory, attempt, recipe, config)
    threading.Thread(target=overseer.listen, name="ending", daemon=True).start()
    make_private_directory(directory.path / "trackers")
    # An earlier attempt's mirror may still have a little to write.
    with FileLock(directory.path / "trackers" / ".lock", mode=0o600):
        overseer.watch(start_followers(directory, recipe, config))


def start_followers(directory: RunDirectory, recipe: Recipe, config: TrackersConfig) -> list[Follower]:
    """One for each tracker, at work."""
    from accelerate import PartialState

    from stoker_plugins.trackers.backends import BACKENDS, Naming

    # Accelerate's trackers ask it whether this is the main process.
    PartialState(cpu=True)
    files = tracker_directory(directory, config)
    make_private_directory(files)
    naming = Naming(
        run_name=directory.name,
        run_id=directory.read_record().id,
        project=config.project or recipe.run.name,
        directory=files.absolute(),
    )
    values = flattened(recipe.resolved())
    followers = []
    for name in config.use:
        bookmark = Bookmark.read(directory.path / "trackers" / f"{name}.json")
        follower = Follower(name, BACKENDS[name](config, naming), bookmark)
        follower.start(directory.events_path, values)
        followers.append(follower)
    return followers


class Overseer:
    """Hears the end of the run, and says once of each tracker that it failed."""

    def __init__(
        self, directory: RunDirectory, attempt: int, recipe: Recipe, config: TrackersConfig
    ) -> None:
        self._events = EventWriter(directory.events_path, attempt, rank=0)
        self._recipe = recipe
        self.config = config
        self._parent = os.getppid()
        self._ending: Ending | None = None
        self._deadline = math.inf

    def listen(self) -> None:
        """Wait for the ending, in a thread, which ends this process if nothing else does."""
        ending = Ending.parse(sys.stdin.buffer.readline())
        self._end(ending)
        time.sleep(ending.seconds + SECONDS_TO_LEAVE)
        os._exit(1)

    def _end(self, ending: Ending) -> None:
        self._deadline = time.monotonic() + ending.seconds
        self._ending = ending

    def watch(self, followers: Sequence[Follower]) -> None:
        """Return when the run is over and all is mirrored, or the time for that is over."""
        waiting = list(followers)
        while waiting or self._ending is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            if self._ending is None and os.getppid() != self._parent:
                # A process that rank 0 forked holds the other end of our standard input.
                self._end(Ending())
            for follower in waiting:
                follower.ending = self._ending
            waiting = [each for each in waiting if not self._is_done(each)]
            if time.monotonic() > self._deadline:
                break
        for follower in waiting:
            self._alert(f"tracker {follower.name!r} has not been given everything: the time was over")

    def _is_done(self, follower: Follower) -> bool:
        if not follower.is_over and follower.seconds_in_call > self.config.timeout_seconds:
            follower.leave_out()
            follower.trouble = f"no answer for {self.config.timeout_seconds:g} s"
        if follower.is_over and follower.trouble:
            self._alert(
                f"tracker {follower.name!r} is left out until the next attempt: {follower.trouble}. "
                "Training goes on"
            )
        return follower.is_over

    def _alert(self, message: str) -> None:
        text = self._recipe.conceal(message)[:_LONGEST_MESSAGE]
        self._events.write("alert", message=text)


if __name__ == "__main__":
    main()
