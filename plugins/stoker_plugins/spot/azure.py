"""Azure: scheduled events of type Preempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stoker.run.notices import Notice
from stoker_plugins.spot.countdown import Countdown
from stoker_plugins.spot.metadata import Answer, MetadataServer, Unanswered, parse_time

_EVENTS: Final = "/metadata/scheduledevents?api-version=2020-07-01"
_NAME: Final = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
_HEADERS: Final = {"Metadata": "true"}
_FIRST_SECONDS: Final = 150.0
"""The first request switches the service on, which takes up to two minutes."""


class Azure:
    """Asks for scheduled events: machines of a set see those of all, and ours are those that name us."""

    name = "azure"

    def __init__(
        self, server: MetadataServer, grace_seconds: float, first_seconds: float = _FIRST_SECONDS
    ) -> None:
        self._server = server
        self._countdown = Countdown(grace_seconds)
        self._timeout_seconds: float | None = first_seconds

    def look(self) -> Notice | None:
        """Ask once; the first time takes up to two minutes. Raises `Unanswered`."""
        answer = self._server.ask(_EVENTS, _HEADERS, timeout_seconds=self._timeout_seconds)
        if answer.status != 200:
            raise answer.refusal()
        events = answer.json_object().get("Events", [])
        self._timeout_seconds = None
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict) and event.get("EventType") == "Preempt" and self._is_ours(event):
                return self._preemption(answer, event)
        self._countdown.clear()
        return None

    def _is_ours(self, event: Mapping[str, Any]) -> bool:
        resources = event.get("Resources")
        if not isinstance(resources, list) or not resources:
            return True
        own = self._own_name()
        return not own or own.lower() in [str(name).lower() for name in resources]

    def _own_name(self) -> str:
        try:
            answer = self._server.ask(_NAME, _HEADERS)
        except Unanswered:
            return ""  # rather leave once too often
        return answer.body.strip() if answer.status == 200 else ""

    def _preemption(self, answer: Answer, event: Mapping[str, Any]) -> Notice:
        # Empty once the event has started.
        moment = parse_time(event.get("NotBefore"))
        after = f", not before {moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""
        return Notice(
            provider=self.name,
            reason=f"Azure preempts this machine{after}",
            deadline=self._countdown.deadline(answer.seconds_until(moment)),
        )
