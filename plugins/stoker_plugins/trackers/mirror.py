"""Rank 0's side: starts the process that mirrors, sees that it lives, and ends it with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from stoker.run.files import make_private_directory
from stoker_plugins.trackers.ending import SECONDS_TO_LEAVE
from stoker_plugins.trackers.environment import make_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stoker.run.directory import RunDirectory
    from stoker_plugins.trackers.config import TrackersConfig
    from stoker_plugins.trackers.ending import Ending

_SECONDS_BETWEEN_LOOKS: Final = 0.05


class Mirror:
    """The running process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    def start(cls, directory: RunDirectory, attempt: int, config: TrackersConfig) -> Mirror:
        """Start it in a process group of its own: what is killed with the rank tells no one its end.

        It reads the recipe from the run directory. Secrets come to it by its environment.
        """
        path = directory.attempt_path(attempt) / "trackers.log"
        make_private_directory(path.parent)
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "stoker_plugins.trackers.main",
                    str(directory.path.absolute()),
                    str(attempt),
                ],
                env=make_environment(directory, config),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        finally:
            os.close(log)
        return cls(process, path)

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise `RuntimeError` if it has ended before the run."""
        if self._process.poll() is not None:
            raise RuntimeError(self._how_it_ended())

    def end(self, ending: Ending, beat: Callable[[str], None]) -> str:
        """Say how the run ended and wait until the rest is mirrored, but only so long.

        Returns what went wrong, in a sentence; nothing else does. `beat` is given a sign of life.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(ending.to_line())
            self._process.stdin.close()
        deadline = time.monotonic() + ending.seconds + 2 * SECONDS_TO_LEAVE
        while self._process.poll() is None and time.monotonic() < deadline:
            beat("mirroring the rest")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        return "" if self._process.wait() == 0 else self._how_it_ended()

    def _how_it_ended(self) -> str:
        return f"the process that mirrors ended with {self._process.returncode}, see {self._log}"
