"""Writes one checkpoint in a thread while training goes on."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stoker.checkpoint.commit import Commit
from stoker.checkpoint.manifest import Manifest
from stoker.checkpoint.tensors import write_pieces

if TYPE_CHECKING:
    from stoker.train.engine import Piece

_SECONDS_BETWEEN_LOOKS = 0.02


_NICENESS = 10


def _give_way() -> None:
    """Let the threads that train have the processor first: on Linux, niceness is a thread's own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


@dataclass(frozen=True)
class Seal:
    """What rank 0 needs to commit."""

    manifest: Callable[[], Manifest]
    """Asked for last, in the thread that writes."""
    shapes: dict[str, tuple[int, ...]]
    """Of all trained parameters by name."""
    world_size: int


class Write:
    """One rank's part of one checkpoint; on rank 0 also the commit, once all parts are there."""

    def __init__(
        self,
        number: int,
        commit: Commit,
        rank: int,
        pieces: Iterable[Piece],
        seal: Seal | None,
    ) -> None:
        """`seal` on rank 0 only."""
        self.number = number
        self.commit = commit
        self.error: Exception | None = None
        """Set before `part_is_over` and `ended_at`."""
        self.bytes_written = 0
        self.part_is_over = False
        """This rank's part is written, or could not be."""
        self.ended_at: float | None = None
        """In seconds of `time.monotonic()`; None while it is at work."""
        self._rank = rank
        self._pieces = pieces
        self._seal = seal
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in the background. A daemon: a rank that dies does not wait for it."""
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def write_part(self, alive: Callable[[], None] = lambda: None) -> None:
        """Write this rank's part in this thread; `start` does the rest then. Errors are in `error`.

        `alive` is called every few megabytes.
        """

        def report(done: int, total: int) -> None:
            self.bytes_written = done
            alive()

        try:
            self.commit.begin()
            write_pieces(self.commit.directory, self._rank, self._pieces, report)
        except Exception as error:
            self.error = error
        self._pieces = ()
        self.part_is_over = True

    def _run(self) -> None:
        _give_way()
        if not self.part_is_over:
            self.write_part()
        if self._seal is not None and self.error is None:
            self._commit(self._seal)
        self.ended_at = time.monotonic()

    def _commit(self, seal: Seal) -> None:
        try:
            if self._wait_for_parts(seal.world_size):
                self.commit.seal(seal.manifest(), seal.shapes)
        except Exception as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        """Written, and on rank 0 committed, or failed."""
        return self.ended_at is not None

    def give_up(self) -> None:
        """Wait for no other rank's part any more: one of them could not write it."""
        self._given_up.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _wait_for_parts(self, world_size: int) -> bool:
        while self.commit.num_parts() < world_size:
            if self._given_up.wait(_SECONDS_BETWEEN_LOOKS):
                return False
        return True
