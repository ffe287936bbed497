"""The thread that looks for notices, so that training never waits for an answer."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from stoker_plugins.spot.metadata import Unanswered

if TYPE_CHECKING:
    from stoker.run.notices import Notice
    from stoker_plugins.spot.providers import Provider

_QUIET_SECONDS: Final = 600.0
"""So long all looks have to succeed before a failure is told again."""
_LONGEST_DELAY_SECONDS: Final = 30.0


class Watcher:
    """Asks one provider again and again, until it says to leave or there is no need to know."""

    def __init__(self, provider: Provider, poll_seconds: float, grace_seconds: float | None) -> None:
        self.provider = provider
        self.poll_seconds = poll_seconds
        self.latest: Notice | None = None
        """The notice that counts; one to leave is the last one."""
        # A quarter of the lead: a service that answers again is heard in time.
        backed_off = _LONGEST_DELAY_SECONDS if grace_seconds is None else grace_seconds / 4
        self._longest_delay = max(poll_seconds, min(backed_off, _LONGEST_DELAY_SECONDS))
        self._messages: deque[str] = deque()
        self._over = threading.Event()
        self._failures = 0
        """In a row."""
        self._failed_at: float | None = None

    def start(self) -> None:
        """Begin to look, in a thread that keeps no process alive."""
        threading.Thread(target=self._run, name=f"spot-{self.provider.name}", daemon=True).start()

    def stop(self) -> None:
        """Look no more; a request under way is left to its timeout."""
        self._over.set()

    def take_messages(self) -> list[str]:
        """What the operator should know, in sentences; each is given once."""
        return [self._messages.popleft() for _ in range(len(self._messages))]

    def _run(self) -> None:
        delay = 0.0
        while not self._over.wait(delay):
            delay = self._look()
            if self.latest is not None and self.latest.leave:
                return

    def _look(self) -> float:
        """Look once. Returns the seconds until the next time."""
        try:
            notice = self.provider.look()
        except Exception as error:
            self._note_failure(error)
            return min(self.poll_seconds * 2.0 ** min(self._failures, 16), self._longest_delay)
        self._failures = 0
        # What is said again stays the same notice, with the deadline it had first.
        if notice is not None and (
            self.latest is None or notice.leave or notice.reason != self.latest.reason
        ):
            self.latest = notice
        return self.poll_seconds

    def _note_failure(self, error: Exception) -> None:
        now, before = time.monotonic(), self._failed_at
        self._failures, self._failed_at = self._failures + 1, now
        if before is None or now - before > _QUIET_SECONDS:
            text = str(error) if isinstance(error, Unanswered) else f"{type(error).__name__}: {error}"
            self._messages.append(
                f"spot: no answer from provider {self.provider.name}: {text}. Until there is one, "
                "notices are missed. Training goes on, and so does asking."
            )
