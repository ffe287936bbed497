"""`events.jsonl`: what happened in a run, one JSON object a line, only ever appended to.

Every line is written at once, so writers need no lock; readers skip a line torn by a crash. On a full
disk events wait in memory: what is said about training is no reason to end it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from stoker.errors import StorageError

Event = dict[str, Any]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_WAITING_BYTES: Final = 2**24

SUPERVISOR_RANK: Final = -1
"""`rank` of events that the supervisor writes."""


_ENCODE = json.JSONEncoder(allow_nan=False).encode
"""Made once: with an option `json.dumps` makes an encoder for each line."""
_END_BYTES = 64_000
_MOST_PIECE_BYTES = 2**22
_SEEN_BYTES = 256
_MOST_LINE_BYTES = 2**23


class EventWriter:
    """Appends events of one rank in one attempt."""

    def __init__(self, path: Path, attempt: int, rank: int) -> None:
        self.path = path
        self.attempt = attempt
        self.rank = rank
        self._descriptor: int | None = None
        self._waiting = b""
        """What a full disk has not taken yet; perhaps the rest of a line."""

    def write(self, kind: str, **fields: Any) -> None:
        """Append one event. Numbers that are NaN or infinite become null, named in `non_finite`.

        Raises `StorageError` if the disk does not take it for another reason than that it is full, or
        if too much waits for room.
        """
        head = {"v": 1, "t": time.time(), "attempt": self.attempt, "rank": self.rank, "kind": kind}
        line = _ENCODE(head | _finite(fields)) + "\n"
        try:
            self._append(line.encode())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            if _is_torn(self._descriptor):
                # Keeps the new event apart from half a line of an attempt that was killed.
                line = b"\n" + line
        self._waiting += line
        try:
            while self._waiting:
                written = os.write(self._descriptor, self._waiting)
                self._waiting = self._waiting[written:]
        except OSError as error:
            if error.errno not in _FULL or len(self._waiting) > _MOST_WAITING_BYTES:
                raise


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    odd = [key for key, value in fields.items() if isinstance(value, float) and not math.isfinite(value)]
    if not odd:
        return fields
    return {**fields, **dict.fromkeys(odd), "non_finite": odd}


class EventTail:
    """Reads a growing file of events as far as it has come, from its start or from a `position`."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self.restarts = 0
        """How often the file was found replaced or cut off, and was begun with again."""
        self.bad_lines = 0
        """Lines that were no events, such as torn ones."""
        self.has_more = True
        """False once a call of `read` came to the end of the file."""
        self._position = position
        self._torn = b""
        self._seen = b""
        """What stands right before `_position`."""

    @property
    def position(self) -> int:
        """Bytes up to the end of the last complete line that was read; where another tail can go on."""
        return self._position - len(self._torn)

    def read(self, most_bytes: int = -1) -> list[Event]:
        """Events that were completed since the last call; none while there is no file.

        Looks at no more than `most_bytes`, unless it is negative. Begins again with a file that is not
        the one it knows. Raises `OSError` if the file cannot be read.
        """
        lines = self.read_lines(most_bytes)
        events = parse_lines(lines)
        self.bad_lines += sum(map(bool, lines)) - len(events)
        return events

    def read_lines(self, most_bytes: int = -1) -> list[bytes]:
        """The same, unparsed: for readers that leave out most of them."""
        return self._complete(self._new_bytes(most_bytes))

    def _new_bytes(self, most_bytes: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self._position - len(self._seen))
                if file.read(len(self._seen)) != self._seen:
                    self._begin_again()
                    file.seek(0)
                content = file.read(most_bytes)
        except FileNotFoundError:
            self.has_more = False
            return b""
        self.has_more = len(content) == most_bytes
        self._position += len(content)
        self._seen = (self._seen + content[-_SEEN_BYTES:])[-_SEEN_BYTES:]
        return content

    def _complete(self, content: bytes) -> list[bytes]:
        *lines, self._torn = (self._torn + content).split(b"\n")
        if len(self._torn) > _MOST_LINE_BYTES:
            # No event: a disk's zeros after a power loss. Its rest is skipped as a line of its own.
            self._torn = b""
            self.bad_lines += 1
        return lines

    def _begin_again(self) -> None:
        self._position, self._torn, self._seen = 0, b"", b""
        self.restarts += 1


def parse_lines(lines: Sequence[bytes]) -> list[Event]:
    """Events in these lines; what is none is left out."""
    try:
        # One call for all is half again as fast as one for each.
        values = json.loads(b"[" + b",".join(lines) + b"]") if lines else []
    except (ValueError, RecursionError):
        values = []
    if len(values) != len(lines):
        values = [_value(line) for line in lines]
    return [value for value in values if isinstance(value, dict) and isinstance(value.get("kind"), str)]


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def read_events(path: Path) -> list[Event]:
    """All events so far, oldest first. A torn line is left out."""
    return EventTail(path).read()


def read_end(path: Path, num_bytes: int) -> list[Event]:
    """The latest events, those that begin in the last `num_bytes` of the file; none without a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - num_bytes))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    return parse_lines(lines)


def last_step(path: Path) -> int:
    """The step that was done last, as far as the end of the file tells; else 0."""
    events = reversed(read_end(path, _END_BYTES))
    return next((event["step"] for event in events if event["kind"] == "step"), 0)


def read_backwards(path: Path) -> Iterator[Event]:
    """All events so far, the latest first, for readers that need few of many; none without a file."""
    for _, lines in _pieces_from_end(path):
        yield from reversed(parse_lines(lines))


def start_of_attempt(path: Path, attempt: int) -> int:
    """A position in the file before which all events are of earlier attempts, for an `EventTail`.

    Found from the end, so it costs little where the attempt has just begun.
    """
    if attempt <= 1:
        return 0
    for position, lines in _pieces_from_end(path):
        if any(event.get("attempt", 0) < attempt for event in parse_lines(lines)):
            return position
    return 0


def _pieces_from_end(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines by ever larger pieces of the file, the last first, and where each piece begins."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        position, num_bytes, rest = file.seek(0, os.SEEK_END), _END_BYTES, b""
        while position:
            start = max(0, position - num_bytes)
            file.seek(start)
            content = file.read(position - start) + rest
            first, rest = start, b""
            if start:
                # Its beginning lies in the piece before; what is longer is no event.
                rest, _, content = content.partition(b"\n")
                first, rest = start + len(rest) + 1, rest[:_MOST_LINE_BYTES]
            yield first, [line for line in content.split(b"\n") if line]
            position, num_bytes = start, min(2 * num_bytes, _MOST_PIECE_BYTES)


def follow(path: Path, stop: Callable[[], bool], poll_seconds: float = 0.2) -> Iterator[Event]:
    """All events so far, then new ones as they come until `stop()`; none written before it is missed."""
    tail = EventTail(path)
    while True:
        last = stop()
        yield from tail.read()
        if last:
            return
        time.sleep(poll_seconds)


def latest_by_step(events: Iterable[Event], kind: str = "step") -> dict[int, Event]:
    """Events of a kind by step; where attempts overlap, the last attempt's counts."""
    found: dict[int, Event] = {}
    for event in events:
        if event["kind"] == kind and "step" in event:
            known = found.get(event["step"])
            if known is None or event.get("attempt", 0) >= known.get("attempt", 0):
                found[event["step"]] = event
    return dict(sorted(found.items()))
