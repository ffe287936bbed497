"""From the time a notice names to a deadline of this process."""

from __future__ import annotations

import time


class Countdown:
    """Keeps in mind when there was no notice yet, for notices that do not say how old they are."""

    def __init__(self, grace_seconds: float) -> None:
        self.grace_seconds = grace_seconds
        """The longest time that this provider leaves."""
        self._clear_at: float | None = None

    def clear(self) -> None:
        """There is no notice now."""
        self._clear_at = time.monotonic()

    def deadline(self, lead_seconds: float | None) -> float:
        """When to have left, in seconds of `time.monotonic()`, for a notice found now.

        `lead_seconds`: what is left by the notice itself. It is never believed beyond the provider's
        own lead; where it is missing or over already, which is what a clock that jumped makes of it,
        the notice is taken to have come just after the last look that found none. Too long a deadline
        costs less than too short a one: a checkpoint that is cut off leaves the one before it intact.
        """
        now = time.monotonic()
        if lead_seconds is not None and lead_seconds > 0:
            return now + min(lead_seconds, self.grace_seconds)
        since = now if self._clear_at is None else self._clear_at
        return max(now, since + self.grace_seconds)
