"""Reads the telemetry of all hosts as it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from stoker.run.events import Event, EventTail
from stoker.run.lines import clean
from stoker.run.machines import Machines
from stoker.run.numbers import number, whole
from stoker.run.paces import RanksView
from stoker_tui.models.feed_load import SLICE_BYTES

_END_BYTES: Final = 512_000
_WINDOW_BYTES: Final = 8_000
_NUM_WINDOWS: Final = 64


class TelemetryReader:
    """Keeps the latest samples. Of a long file its end is read, and samples of the rest."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.machines = Machines()
        self.ranks = RanksView(clock)
        self.mfu_per_speed: dict[int, float] = {}
        """MFU for each token per second, by attempt: devices and model are the same all through one."""
        self.revision = 0
        """Grows with every line."""
        self._folder = folder
        self._tails: dict[str, EventTail] = {}
        self._waiting: list[tuple[str, Event]] = []

    def read(self, deadline: float) -> bool:
        """Take in what is new, until about `deadline` on the monotonic clock; True if more waits.

        Raises `OSError` if a file cannot be read.
        """
        self._find()
        problem: OSError | None = None
        for host, tail in self._tails.items():
            try:
                while True:
                    self._hold(host, tail.read(SLICE_BYTES))
                    if not tail.has_more:
                        break
                    if time.monotonic() >= deadline:
                        return True
            except OSError as error:
                # The other hosts' files can be read all the same.
                problem = error
        self._take()
        if problem is not None:
            raise problem
        return False

    def _find(self) -> None:
        try:
            names = [path.stem for path in self._folder.iterdir() if path.suffix == ".jsonl"]
        except (FileNotFoundError, NotADirectoryError):
            return
        for host in sorted(names):
            if host not in self._tails:
                self._open(host)

    def _open(self, host: str) -> None:
        path = self._folder / f"{host}.jsonl"
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        if size <= 2 * _END_BYTES:
            self._tails[host] = EventTail(path)
            return
        self._tails[host] = EventTail(path, size - _END_BYTES)
        # MFU differs between attempts; one host knows it for all.
        for window in range(_NUM_WINDOWS if len(self._tails) == 1 else 1):
            start = (size - _END_BYTES) * window // _NUM_WINDOWS
            self._hold(host, EventTail(path, start).read(_WINDOW_BYTES))

    def _hold(self, host: str, lines: list[Event]) -> None:
        name = clean(host)
        self._waiting += [(name, line) for line in lines]

    def _take(self) -> None:
        """Hosts' lines in the order of their clocks: who waits for whom shows side by side only."""
        lines, self._waiting = self._waiting, []
        for host, line in sorted(lines, key=lambda item: number(item[1].get("t"), 0.0)):
            if line["kind"] == "rank":
                self.ranks.take(host, line)
                self.mfu_per_speed.update(_mfu_per_speed(line))
            else:
                self.machines.take(host, line)
        self.revision += len(lines)


def _mfu_per_speed(line: Event) -> Iterator[tuple[int, float]]:
    mfu, speed = number(line.get("mfu")), number(line.get("tokens_per_second"))
    if mfu is not None and speed:
        yield whole(line.get("attempt")), mfu / speed
