"""Azure's scheduled events, played on loopback."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from stoker_plugins.spot.azure import Azure
from stoker_plugins.spot.metadata import MetadataServer, Unanswered


class ScheduledEvents:
    """Events for a set of machines; this one is called `worker_3`."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.first_takes = 0.0
        self.name = "worker_3"

    def __call__(self, request: Any) -> tuple[int, str]:
        if request.headers.get("metadata") != "true" or "api-version=" not in request.path:
            return 400, ""
        if request.path.startswith("/metadata/instance/compute/name?"):
            return (200, self.name) if self.name else (500, "")
        if not request.path.startswith("/metadata/scheduledevents?"):
            return 404, ""
        takes, self.first_takes = self.first_takes, 0.0
        time.sleep(takes)
        return 200, json.dumps({"DocumentIncarnation": 1, "Events": self.events})

    def add(self, **facts: Any) -> None:
        event = {"EventType": "Preempt", "Resources": ["worker_3"], "NotBefore": ""} | facts
        self.events.append(event)


def stamp(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.fixture
def scheduled(service: Any) -> ScheduledEvents:
    service.answer = ScheduledEvents()
    return service.answer


def test_a_preemption_is_found_within_a_poll_and_a_second(
    start: Any, service: Any, scheduled: ScheduledEvents
) -> None:
    watch = start(provider="azure", endpoint=service.url, poll_seconds=0.2)
    watch.until(lambda: len(service.requests) >= 2)
    assert watch.notice() is None
    scheduled.add(NotBefore=stamp(25))
    assert watch.until(watch.notice) < 1.2
    assert watch.notice().leave
    assert "not before 20" in watch.notice().reason
    assert 20 < watch.notice().seconds_left() <= 26


def test_the_first_answer_may_take_long_and_no_later_one(
    service: Any, scheduled: ScheduledEvents
) -> None:
    """Scaled: half a second stands for five, and one second for two minutes."""
    provider = Azure(MetadataServer(service.url, timeout_seconds=0.5), 30.0, first_seconds=5.0)
    scheduled.first_takes = 1.0
    assert provider.look() is None
    scheduled.first_takes = 1.0
    with pytest.raises(Unanswered, match="timed out"):
        provider.look()


def test_nobody_waits_for_the_first_answer(start: Any, service: Any, scheduled: ScheduledEvents) -> None:
    scheduled.first_takes = 1.0
    scheduled.add(NotBefore=stamp(25))
    began = time.monotonic()
    watch = start(provider="azure", endpoint=service.url)
    assert watch.notice() is None
    assert time.monotonic() - began < 0.9
    watch.until(watch.notice)
    assert time.monotonic() - began > 1


@pytest.mark.parametrize(
    "facts",
    [{"EventType": "Freeze"}, {"EventType": "Reboot"}, {"Resources": ["worker_1", "worker_2"]}],
)
def test_other_events_and_those_of_other_machines_are_none(
    service: Any, scheduled: ScheduledEvents, facts: dict[str, Any]
) -> None:
    scheduled.add(**facts)
    assert Azure(MetadataServer(service.url), 30.0).look() is None


@pytest.mark.parametrize("facts", [{"Resources": []}, {"Resources": None}, {"Resources": ["WORKER_3"]}])
def test_a_preemption_that_may_be_ours_is_ours(
    service: Any, scheduled: ScheduledEvents, facts: dict[str, Any]
) -> None:
    scheduled.add(**facts)
    assert Azure(MetadataServer(service.url), 30.0).look() is not None


def test_one_that_cannot_learn_its_name_leaves(service: Any, scheduled: ScheduledEvents) -> None:
    scheduled.name = ""
    scheduled.add(Resources=["worker_1"])
    assert Azure(MetadataServer(service.url), 30.0).look() is not None


def test_an_event_that_has_started_counts_from_the_last_look(
    service: Any, scheduled: ScheduledEvents
) -> None:
    provider = Azure(MetadataServer(service.url), 30.0)
    provider.look()
    time.sleep(0.5)
    scheduled.add(EventStatus="Started")
    notice = provider.look()
    assert notice is not None
    assert 28 < notice.seconds_left() < 29.6
