"""`ledger.jsonl`: how long a run has held its GPUs and what that costs. Torch-free.

One entry a line, only ever appended to, each synced. An entry states the whole of its attempt up to that
moment, so the latest one counts, and one that a crash tore or a full disk refused costs nothing but what
came after the one before it. Durations are differences of the machine's monotonic clock.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from stoker.errors import StorageError

SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """What an hour of one GPU costs, and how much a run may spend in all of its attempts."""

    usd_per_gpu_hour: float
    source: str
    """Where the price is from, in words."""
    interval_seconds: float = 10.0
    """Between two entries."""
    budget_usd: float | None = None
    budget_hours: float | None = None
    """Hours by the clock, on however many GPUs."""
    table: str = ""
    """Dotted key of the table that holds the budgets, to say where they can be raised."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. `seconds` and `usd` are those of the attempt, from its beginning."""

    kind: Literal["begin", "running", "end", "settled"]
    """`settled`: written by the next attempt for one that was killed."""
    attempt: int
    t: float
    """Unix seconds: information only."""
    uptime: float
    """The machine's monotonic clock, in seconds."""
    boot_id: str
    """Which machine's clock, since which start of it."""
    seconds: float
    gpus: int
    """Those of all ranks on all nodes."""
    usd_per_gpu_hour: float
    usd: float
    source: str
    """Where the price is from; with `settled`, what `seconds` goes by."""
    budget_usd: float | None = None
    budget_hours: float | None = None
    v: int = 1


def usd_of(seconds: float, gpus: int, usd_per_gpu_hour: float) -> float:
    """Price of holding so many GPUs for so long."""
    return seconds / SECONDS_PER_HOUR * gpus * usd_per_gpu_hour


@dataclass(frozen=True)
class Ledger:
    """What a ledger says: the entries of each attempt, oldest first."""

    attempts: tuple[tuple[Entry, ...], ...] = ()

    @property
    def latest(self) -> tuple[Entry, ...]:
        """Entries of the attempt that began last; none in an empty ledger."""
        return self.attempts[-1] if self.attempts else ()

    @property
    def is_open(self) -> bool:
        """Whether the latest attempt has not ended, or was killed and not settled yet."""
        return bool(self.latest) and self.latest[-1].kind in ("begin", "running")

    @property
    def seconds(self) -> float:
        """How long all attempts took."""
        return math.fsum(entries[-1].seconds for entries in self.attempts)

    @property
    def gpu_seconds(self) -> float:
        """The same, for each GPU."""
        return math.fsum(entries[-1].seconds * entries[-1].gpus for entries in self.attempts)

    @property
    def usd(self) -> float:
        """What all attempts cost."""
        return math.fsum(entries[-1].usd for entries in self.attempts)

    @property
    def usd_per_hour(self) -> float:
        """What an hour of the latest attempt costs, on all of its GPUs; 0 in an empty ledger."""
        return self.latest[-1].gpus * self.latest[-1].usd_per_gpu_hour if self.latest else 0.0

    def is_spent(self, budget_usd: float | None, budget_hours: float | None) -> bool:
        """Whether the attempts so far have used up one of two budgets."""
        hours = self.seconds / SECONDS_PER_HOUR
        return bool(
            (budget_usd is not None and self.usd >= budget_usd)
            or (budget_hours is not None and hours >= budget_hours)
        )


def read_ledger(path: Path) -> Ledger:
    """What the file says so far; an empty ledger where there is none. Torn lines are left out.

    Raises `StorageError` where it is there and cannot be read: what was spent is not nothing then.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    return _gather(_parse(lines))


def _gather(entries: Iterable[Entry]) -> Ledger:
    attempts: list[list[Entry]] = []
    for entry in entries:
        if entry.kind == "begin" or not attempts or attempts[-1][0].attempt != entry.attempt:
            attempts.append([])
        attempts[-1].append(entry)
    return Ledger(tuple(tuple(attempt) for attempt in attempts))


def read_usd(path: Path) -> float | None:
    """What all attempts have cost so far; None where nobody keeps accounts, or they cannot be read.

    Entries that a later one of their attempt supersedes are not parsed: there may be a million.
    """
    try:
        lines = path.read_bytes().splitlines()
        kept = [line for line in lines[:-2] if b'"running"' not in line] + lines[-2:]
        ledger = _gather(_parse(kept))
        return ledger.usd if ledger.attempts else None
    except (OSError, TypeError):
        return None


def _parse(lines: list[bytes]) -> Iterator[Entry]:
    known = {field.name for field in fields(Entry)}
    for line in lines:
        try:
            values: dict[str, Any] = json.loads(line)
            yield Entry(**{key: value for key, value in values.items() if key in known})
        except (ValueError, TypeError, AttributeError):
            continue


def append_entry(path: Path, entry: Entry) -> None:
    """Add an entry and bring it to the disk. Raises `StorageError`.

    Apart from half a line that a crash may have left: an entry is one write.
    """
    line = (json.dumps(asdict(entry), allow_nan=False) + "\n").encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            written = os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    if written < len(line):
        raise StorageError(f"{path} cannot be written: no space left.")
