"""The pace of each rank, and which one the others wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from stoker.run.events import Event
from stoker.run.numbers import number, whole

_LASTING_ROUNDS: Final = 3
_CLEAR_SHARE: Final = 0.05
"""Of a step: what the others wait at least, for anyone to be called slow."""
_OWN_SHARE: Final = 0.25
"""Of what the others wait: what the slow rank waits itself at most."""


@dataclass(frozen=True, slots=True)
class RankPace:
    """What a rank said last. Means over the steps since its line before."""

    rank: int
    host: str
    step: int
    step_seconds: float | None
    wait_seconds: float | None
    """For the gradients of slower ranks, a step; None where that is not measured."""
    tokens_per_second: float | None
    """Of all ranks together."""
    mfu: float | None
    """Share of all devices' arithmetic, from 0 to 1."""
    hfu: float | None
    """The same of what is executed."""
    gpu_index: int | None
    t: float
    """Unix seconds, by the host's clock."""
    age: float
    """Seconds since then."""


class RanksView:
    """The latest line of every rank of the latest attempt, and the straggler among them.

    A round is over when every rank has said something since the last one. Who waits least in three
    rounds one after the other, while each other one waits for a twentieth of the step or more and four
    times as long, is slow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.attempt = 0
        self._clock = clock
        self._lines: dict[int, tuple[str, Event]] = {}
        self._spoken: set[int] = set()
        self._rounds: deque[int | None] = deque(maxlen=_LASTING_ROUNDS)

    def __len__(self) -> int:
        return len(self._lines)

    def take(self, host: str, line: Event) -> None:
        """Take in a `rank` line of a host's file."""
        rank, attempt = whole(line.get("rank"), -1), whole(line.get("attempt"))
        if rank < 0 or attempt < self.attempt:
            return
        if attempt > self.attempt:
            self.attempt = attempt
            self._lines, self._spoken = {}, set()
            self._rounds.clear()
        self._lines[rank] = host, line
        self._spoken.add(rank)
        if len(self._spoken) == len(self._lines):
            self._spoken = set()
            self._rounds.append(self._slowest())

    @property
    def paces(self) -> list[RankPace]:
        """By rank."""
        return [self.pace(rank) for rank in sorted(self._lines)]

    def pace(self, rank: int) -> RankPace:
        """What a rank said last. Raises `KeyError` if it said nothing."""
        host, line = self._lines[rank]
        t = number(line.get("t"), 0.0)
        index = line.get("gpu_index")
        return RankPace(
            rank=rank,
            host=host,
            step=whole(line.get("step")),
            step_seconds=number(line.get("step_seconds")),
            wait_seconds=number(line.get("wait_seconds")),
            tokens_per_second=number(line.get("tokens_per_second")),
            mfu=number(line.get("mfu")),
            hfu=number(line.get("hfu")),
            gpu_index=index if isinstance(index, int) else None,
            t=t,
            age=max(0.0, self._clock() - t),
        )

    @property
    def straggler(self) -> int | None:
        """The rank that the others wait for; None where that is not clear or did not last."""
        named = set(self._rounds)
        return self._rounds[-1] if len(self._rounds) == _LASTING_ROUNDS and len(named) == 1 else None

    @property
    def why(self) -> str:
        """Why: `waits 0.01 s a step, the others 0.37 s of 3.75 s`; empty without one."""
        rank = self.straggler
        if rank is None:
            return ""
        own, others, whole_step = map(_words, (self._wait(rank), self._others(rank), self._step(rank)))
        return f"waits {own} a step, the others {others} of {whole_step}"

    def gpu_ranks(self) -> dict[tuple[str, int], int]:
        """Which rank computes on which GPU of which host: as it says, else in the order of ranks."""
        found: dict[tuple[str, int], int] = {}
        counts: dict[str, int] = {}
        for rank in sorted(self._lines):
            host, line = self._lines[rank]
            position = counts.setdefault(host, 0)
            counts[host] += 1
            if line.get("gpu_index", position) is not None:
                found[host, whole(line.get("gpu_index"), position)] = rank
        return found

    def _slowest(self) -> int | None:
        """The rank that waits least in this round, if the difference is clear."""
        lines = [line for _, line in self._lines.values()]
        if len(lines) < 2 or any(number(line.get("wait_seconds")) is None for line in lines):
            return None
        rank, second = sorted(self._lines, key=self._wait)[:2]
        own, others = self._wait(rank), self._wait(second)
        is_clear = others > 0 and others >= _CLEAR_SHARE * self._step(rank)
        return rank if is_clear and own <= _OWN_SHARE * others else None

    def _wait(self, rank: int) -> float:
        return number(self._lines[rank][1].get("wait_seconds"), 0.0)

    def _step(self, rank: int) -> float:
        return number(self._lines[rank][1].get("step_seconds"), 0.0)

    def _others(self, rank: int) -> float:
        return median(self._wait(other) for other in self._lines if other != rank)


def _words(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.01 else f"{seconds * 1000:.2g} ms"
