"""A file whose appearance is the notice, for whatever else knows that this machine goes."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Final

from stoker.run.notices import Notice
from stoker_plugins.spot.metadata import Unanswered, one_line

_LONGEST_BYTES: Final = 2**16
_LONGEST_REASON: Final = 200


class NoticeFile:
    """Looks for the file; what it holds may be empty, a sentence, or `reason` and `seconds_left`."""

    name = "file"

    def __init__(self, path: Path, grace_seconds: float | None) -> None:
        self._path = path
        self._grace_seconds = grace_seconds

    def look(self) -> Notice | None:
        """Look once. Raises `Unanswered` for a file that is there and cannot be read."""
        try:
            with self._path.open("rb") as file:
                text = file.read(_LONGEST_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unanswered(f"{self._path} cannot be read: {error.strerror or error}") from error
        facts = _facts(text)
        reason = one_line(facts.get("reason") or "", _LONGEST_REASON)
        left = self._seconds_left(facts.get("seconds_left"))
        return Notice(
            provider=self.name,
            reason=reason or f"{self._path} is there",
            deadline=None if left is None else time.monotonic() + left,
        )

    def _seconds_left(self, stated: object) -> float | None:
        known = [] if self._grace_seconds is None else [self._grace_seconds]
        if isinstance(stated, (int, float)) and not isinstance(stated, bool) and math.isfinite(stated):
            known.append(max(0.0, float(stated)))
        return min(known, default=None)


def _facts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"reason": text}
    return found if isinstance(found, dict) else {"reason": text}
