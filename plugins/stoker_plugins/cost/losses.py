"""What was paid for and brought nothing: ranks that wait for others, and steps that are done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stoker.run.events import read_backwards


class Losses:
    """US dollars and GPU-seconds of all attempts, as far as events tell of the earlier ones."""

    def __init__(self) -> None:
        self.idle_gpu_seconds = 0.0
        """Of this attempt: each rank's time beyond the one that waited least. 0 where not measured."""
        self.redone_seconds = 0.0
        """Of this attempt: steps that an earlier one had done."""
        self.idle_usd_before = 0.0
        self.redone_usd_before = 0.0
        self.is_measured = False
        """Whether waits are known: they are under the default engine on several ranks."""
        self.furthest_step = 0
        """The last step that any attempt has done."""

    def begin(self, events_path: Path) -> None:
        """Before the first step: how far earlier attempts had come, and what they had lost.

        Reads the file back to the last `cost` event, which says how far that was; to the beginning
        where an older version wrote them.
        """
        is_known = False
        for event in read_backwards(events_path):
            if event["kind"] == "step":
                self.furthest_step = max(self.furthest_step, event["step"])
            elif event["kind"] == "cost":
                if not is_known:
                    self.idle_usd_before = event.get("idle_usd") or 0.0
                    self.redone_usd_before = event.get("redone_usd") or 0.0
                    is_known = True
                if "furthest_step" in event:
                    self.furthest_step = max(self.furthest_step, event["furthest_step"])
                    return

    def note(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Steps just done."""
        for row in rows:
            if "idle_seconds" in row:
                self.is_measured = True
                self.idle_gpu_seconds += row["idle_seconds"]
            if row["step"] <= self.furthest_step:
                self.redone_seconds += row["step_seconds"]
