"""Google Cloud: `instance/preempted`, which answers when it changes."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import quote

from stoker.run.notices import Notice
from stoker_plugins.spot.metadata import MetadataServer, Unanswered

_PREEMPTED: Final = "/computeMetadata/v1/instance/preempted"
_HEADERS: Final = {"Metadata-Flavor": "Google"}
_WAIT_SECONDS: Final = 10
"""Shorter than the lead, so that a connection that died unnoticed hides no notice."""


class Gcp:
    """Reads the value once, then waits for another than that: none is missed between two requests."""

    name = "gcp"

    def __init__(
        self, server: MetadataServer, grace_seconds: float, wait_seconds: int = _WAIT_SECONDS
    ) -> None:
        self._server = server
        self._grace_seconds = grace_seconds
        self._wait_seconds = wait_seconds
        self._etag = ""

    def look(self) -> Notice | None:
        """Ask once; waits for up to ten seconds for a change. Raises `Unanswered`."""
        path, wait = _PREEMPTED, 0
        if self._etag:
            wait = self._wait_seconds
            path += f"?wait_for_change=true&timeout_sec={wait}&last_etag={quote(self._etag, safe='')}"
        etag, self._etag = self._etag, ""
        timeout = wait + self._server.timeout_seconds
        answer = self._server.ask(path, _HEADERS, timeout_seconds=timeout)
        value = answer.body.strip().upper()
        if answer.status != 200:
            raise answer.refusal()
        if value not in ("TRUE", "FALSE"):
            raise Unanswered(f"{answer.url} answers with neither TRUE nor FALSE")
        self._etag = answer.headers.get("etag", etag)
        if value == "FALSE":
            return None
        return Notice(
            provider=self.name,
            reason="Google Cloud preempts this instance",
            deadline=time.monotonic() + self._grace_seconds,
        )
