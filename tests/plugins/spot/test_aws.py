"""AWS's instance metadata service, played on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
POLL = 0.2


class Imds:
    """Tokens, and documents by path; what has no document is 404."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self.tokens: list[str] = []
        self.broken = False

    def __call__(self, request: Any) -> tuple[int, str]:
        if self.broken:
            return 503, ""
        if request.path == "/latest/api/token":
            lifetime = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
            if request.method != "PUT" or not lifetime.isdecimal():
                return 400, ""
            self.tokens.append(f"token-{len(self.tokens)}")
            return 200, self.tokens[-1]
        if not self.tokens or request.headers.get("x-aws-ec2-metadata-token") != self.tokens[-1]:
            return 401, ""
        document = self.documents.get(request.path)
        return (404, "") if document is None else (200, document)

    def interrupt(self, seconds: float, action: str = "terminate") -> None:
        self.documents[ACTION] = json.dumps({"action": action, "time": stamp(seconds)})


def stamp(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def imds(service: Any) -> Imds:
    service.answer = Imds()
    return service.answer


@pytest.fixture
def watch(start: Callable[..., Any], service: Any, imds: Imds) -> Any:
    return start(provider="aws", endpoint=service.url, poll_seconds=POLL)


def looks(service: Any, path: str = ACTION) -> int:
    return sum(request.path == path for request in service.requests)


def test_a_notice_is_found_within_a_poll_and_a_second(watch: Any, service: Any, imds: Imds) -> None:
    watch.until(lambda: looks(service) >= 2)
    assert watch.notice() is None
    imds.interrupt(119)
    assert watch.until(watch.notice) < POLL + 1
    notice = watch.notice()
    assert notice.leave
    assert notice.provider == "aws"
    assert "terminate this instance at 20" in notice.reason
    assert 115 < notice.seconds_left() <= 119
    assert watch.alerts() == []


def test_a_recommendation_is_a_hint_and_an_interruption_after_it_is_not(watch: Any, imds: Imds) -> None:
    imds.documents[REBALANCE] = json.dumps({"noticeTime": "2026-01-01T00:00:00Z"})
    watch.until(watch.notice)
    hint = watch.notice()
    assert (hint.leave, hint.deadline) == (False, None)
    assert hint.reason.endswith("since 2026-01-01T00:00:00Z")
    time.sleep(3 * POLL)
    assert watch.notice() is hint, "what is said again is no other notice"
    imds.interrupt(100, "stop")
    watch.until(lambda: watch.notice().leave)
    assert "stop this instance" in watch.notice().reason


def test_a_token_that_has_expired_is_renewed(watch: Any, service: Any, imds: Imds) -> None:
    watch.until(lambda: looks(service) >= 2)
    assert len(imds.tokens) == 1, "one token serves many requests"
    imds.tokens.append("of which nobody was told")
    imds.interrupt(60)
    watch.until(watch.notice)
    assert len(imds.tokens) == 3
    assert watch.alerts() == []


def test_no_notice_is_lost_to_a_service_that_fails_for_a_while(
    watch: Any, service: Any, imds: Imds
) -> None:
    imds.broken = True
    watch.until(watch.alerts)
    before = len(service.requests)
    watch.until(lambda: len(service.requests) > before + 1)
    (alert,) = watch.alerts()
    assert "provider aws" in alert
    assert service.url in alert
    assert "503" in alert
    imds.broken = False
    imds.interrupt(60)
    watch.until(watch.notice)
    assert len(watch.alerts()) == 1


@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [(60, 57, 60), (4000, 119, 120), (-4000, 115, 120)],
    ids=["plausible", "clock behind", "clock ahead"],
)
def test_the_deadline_is_the_notices_own_within_what_aws_leaves(
    start: Any, service: Any, imds: Imds, seconds: float, least: float, most: float
) -> None:
    watch = start(provider="aws", endpoint=service.url, poll_seconds=POLL)
    watch.until(lambda: looks(service) >= 2)
    imds.interrupt(seconds)
    watch.until(watch.notice)
    assert least <= watch.notice().seconds_left() <= most


def test_the_services_own_clock_counts_where_ours_is_wrong(start: Any, service: Any, imds: Imds) -> None:
    """An hour ahead of us, as after a jump of our clock: 50 s are left by the clock of the notice."""
    service.clock_is_ahead = 3600
    imds.interrupt(3600 + 50)
    watch = start(provider="aws", endpoint=service.url)
    watch.until(watch.notice)
    assert 46 <= watch.notice().seconds_left() <= 51


@pytest.mark.parametrize("document", ["<html>", "[]", "none", "[" * 5000])
def test_what_is_no_notice_stops_nothing(watch: Any, imds: Imds, document: str) -> None:
    imds.documents[ACTION] = document
    watch.until(watch.alerts)
    assert "no JSON object" in watch.alerts()[0]
    assert watch.notice() is None


@pytest.mark.parametrize("facts", [{}, {"action": "stop", "time": 5}, {"time": "soon"}])
def test_a_notice_without_a_time_leaves_what_aws_always_leaves(
    watch: Any, imds: Imds, facts: dict[str, Any]
) -> None:
    imds.documents[ACTION] = json.dumps(facts)
    watch.until(watch.notice)
    assert watch.notice().leave
    assert 100 < watch.notice().seconds_left() <= 120


def test_what_a_notice_says_cannot_steer_a_terminal(watch: Any, imds: Imds) -> None:
    imds.interrupt(60, "\x1b[2Jterminate\n")
    watch.until(watch.notice)
    assert watch.notice().reason.isprintable()
