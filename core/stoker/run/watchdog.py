"""Finds ranks that hang, and says which one it is, what it was doing, and where it is."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stoker.errors import ExitCode
from stoker.run.heartbeat import HEARTBEAT_VARIABLE, Beat, read_beat
from stoker.run.host import boot_id
from stoker.run.outcome import RankError, RankOutcome
from stoker.run.ranks import STACK_SIGNAL, RankProcess
from stoker.run.stacks import STACK_VARIABLE, innermost_lines

START_FACTOR: Final = 3
"""How much more time ranks have until their first step is done: kernels are compiled then."""
START_SECONDS: Final = 120.0
"""The least of that: importing torch on a busy machine alone takes tens of seconds."""
_LOOKS: Final = 20
"""In the time after which ranks hang; at most one a second."""
_ANSWER_SECONDS: Final = 2.0
_SECONDS_BETWEEN_ANSWERS: Final = 0.1

_STOPPED: Final = frozenset({"T", "t"})
_STATES: Final = {
    "T": "it is stopped (SIGSTOP)",
    "t": "a debugger has stopped it",
    "D": "it waits for a device or a file system and cannot be interrupted",
}


def beat_path(folder: Path, rank: int) -> Path:
    """Where a rank notes that it lives; of no use after the attempt."""
    return folder / f"rank-{rank}.beat"


def stack_path(folder: Path, rank: int) -> Path:
    """Where a rank writes its stacks."""
    return folder / f"rank-{rank}.stack"


def watch_environment(folder: Path, rank: int) -> dict[str, str]:
    """The variables by which a rank learns of these files."""
    return {
        HEARTBEAT_VARIABLE: str(beat_path(folder, rank)),
        STACK_VARIABLE: str(stack_path(folder, rank)),
    }


def is_watched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a rank that a supervisor of ours started."""
    return HEARTBEAT_VARIABLE in environment


@dataclass(frozen=True)
class Hang:
    """What is known about ranks that show no sign of life."""

    rank: int
    """The one that most likely keeps the others waiting."""
    phase: str
    seconds: float
    place: str
    """Where it is, in words."""
    others: list[str]
    """Where the others are, in words."""
    stack: Path | None
    """The culprit's stacks; None if it could not answer."""
    moment: float = field(default_factory=time.monotonic)

    @property
    def message(self) -> str:
        """One paragraph."""
        return (
            f"rank {self.rank} hangs in phase {self.phase!r}: "
            f"no sign of life for {self.seconds:.0f} s; {self.place}."
        )

    @property
    def hint(self) -> str:
        """Where more is said, and what to do if this is wrong."""
        where = f"Stacks of all its threads: {self.stack}. " if self.stack else ""
        return f"{where}If it was only slow, raise launch.hang_seconds."

    def outcome(self) -> RankOutcome:
        """The culprit's, which could not write one."""
        return RankOutcome(
            rank=self.rank,
            exit_code=int(ExitCode.FAILED),
            time=time.time(),
            error=RankError(message=self.message, hint=self.hint),
            uptime=self.moment,
            boot_id=boot_id(),
        )


@dataclass
class _Seen:
    """What was last seen of a rank."""

    beat: Beat = field(default_factory=Beat)
    step: int = 0
    """The last step it began."""

    def note(self, beat: Beat) -> bool:
        """Returns whether it has shown a sign of life."""
        if beat == self.beat:
            return False
        self.beat = beat
        first, _, number = beat.phase.partition(" ")
        if first == "step" and number.isdecimal():
            self.step = int(number)
        return True


class Watchdog:
    """Looks at the signs of life of a node's ranks.

    Ranks hang when none of them has shown one for long: as long as one of them works, for example
    writes or tokenises, the others may well wait for it. Time during which this process itself did
    not run (a frozen container) does not count.
    """

    def __init__(
        self,
        ranks: Sequence[RankProcess],
        folder: Path,
        hang_seconds: float,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """`folder` holds the ranks' files; `hang_seconds` is 0 for never.

        Until the first step is done, ranks have three times as long, and at least `start_seconds`.
        """
        self.ranks = ranks
        self.folder = folder
        self.hang_seconds = hang_seconds
        self.start_seconds = max(start_seconds, START_FACTOR * hang_seconds)
        self._interval = min(1.0, hang_seconds / _LOOKS)
        self._seen: dict[int, _Seen] = {}
        self._is_warm = False
        self._last_look: float | None = None
        self._silence = 0.0

    def look(self, now: float) -> Hang | None:
        """Look again, if it is time. `now` is in seconds of the monotonic clock."""
        elapsed = 0.0 if self._last_look is None else now - self._last_look
        if not self.hang_seconds or (self._last_look is not None and elapsed < self._interval):
            return None
        self._last_look = now
        signs = [self._note(rank) for rank in self.ranks]
        if any(signs):
            self._silence = 0.0
            return None
        self._silence += min(elapsed, 2 * self._interval)
        if self._silence <= (self.hang_seconds if self._is_warm else self.start_seconds):
            return None
        return self._diagnose()

    def _note(self, rank: RankProcess) -> bool:
        seen = self._seen.setdefault(rank.rank, _Seen())
        alive = seen.note(read_beat(beat_path(self.folder, rank.rank)))
        self._is_warm = self._is_warm or seen.beat.is_warm
        return alive

    def _diagnose(self) -> Hang:
        living = [rank for rank in self.ranks if rank.poll()] or list(self.ranks)
        states = {rank.rank: process_state(rank.process.pid) for rank in living}
        stacks = ask_for_stacks(
            [rank for rank in living if states[rank.rank] not in _STOPPED], self.folder
        )

        def blame(rank: RankProcess) -> tuple[bool, int, int, int]:
            seen = self._seen[rank.rank]
            return states[rank.rank] not in _STATES, seen.step, seen.beat.count, rank.rank

        living.sort(key=blame)
        culprit = living[0].rank
        phases = {rank.rank: self._seen[rank.rank].beat.phase for rank in living}
        places = {rank.rank: place_of(states[rank.rank], stacks.get(rank.rank, "")) for rank in living}
        return Hang(
            rank=culprit,
            phase=phases[culprit],
            seconds=self._silence,
            place=places.pop(culprit),
            others=[f"rank {rank} in phase {phases[rank]!r}: {places[rank]}" for rank in places],
            stack=stack_path(self.folder, culprit) if stacks.get(culprit) else None,
        )

    def clear(self) -> None:
        """Remove what is of no use after the attempt; stacks that were written stay."""
        for rank in self.ranks:
            beat_path(self.folder, rank.rank).unlink(missing_ok=True)
            if not read_stack(self.folder, rank.rank):
                stack_path(self.folder, rank.rank).unlink(missing_ok=True)


def ask_for_stacks(ranks: Sequence[RankProcess], folder: Path) -> dict[int, str]:
    """Ask ranks where they are and wait a moment for what they say."""
    for rank in ranks:
        rank.send(STACK_SIGNAL)
    deadline = time.monotonic() + _ANSWER_SECONDS
    answers: dict[int, str] = {}
    while time.monotonic() < deadline:
        before, answers = answers, {rank.rank: read_stack(folder, rank.rank) for rank in ranks}
        if answers == before and all(answers.values()):
            break
        time.sleep(_SECONDS_BETWEEN_ANSWERS)
    return answers


def place_of(state: str, stack: str) -> str:
    """Where a process is, in words, from the letter of its state and what it said itself."""
    facts = [_STATES[state]] if state in _STATES else []
    if lines := innermost_lines(stack):
        facts.append(f"it is at {', called from '.join(lines)}")
    elif state in _STOPPED:
        facts.append("so it cannot say where it is")
    else:
        facts.append("it did not say where it is")
    return ", ".join(facts)


def read_stack(folder: Path, rank: int) -> str:
    """What a rank has said so far about where it is."""
    try:
        return stack_path(folder, rank).read_text(errors="replace")
    except OSError:
        return ""


def process_state(pid: int) -> str:
    """The letter of a process's state as `ps` shows it; empty where that cannot be known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # The name in parentheses may itself hold any character, so count from its end.
    return text.rpartition(")")[2].split()[0]
