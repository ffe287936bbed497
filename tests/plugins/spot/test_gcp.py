"""Google Cloud's metadata server, played on loopback."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from stoker_plugins.spot.gcp import Gcp
from stoker_plugins.spot.metadata import MetadataServer, Unanswered


class Preempted:
    """The value with its etag; requests that wait are answered when it changes or their time is over."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.value = "FALSE"
        self.waiting = 0

    def __call__(self, request: Any) -> tuple[int, str, dict[str, str]]:
        if request.headers.get("metadata-flavor") != "Google":
            return 403, "", {}
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if parts.path != "/computeMetadata/v1/instance/preempted":
            return 404, "", {}
        with self.changed:
            if query.get("wait_for_change") == ["true"]:
                self.waiting += 1
                timeout = float(query["timeout_sec"][0])
                self.changed.wait_for(lambda: self.etag != query["last_etag"][0], timeout)
            return 200, self.value, {"ETag": self.etag}

    @property
    def etag(self) -> str:
        return f"{self.value}+1"

    def preempt(self) -> None:
        with self.changed:
            self.value = "TRUE"
            self.changed.notify_all()


@pytest.fixture
def preempted(service: Any) -> Preempted:
    service.answer = Preempted()
    return service.answer


def test_a_notice_ends_the_wait_at_once(start: Any, service: Any, preempted: Preempted) -> None:
    watch = start(provider="gcp", endpoint=service.url, poll_seconds=0.1)
    watch.until(lambda: preempted.waiting)
    assert watch.notice() is None
    preempted.preempt()
    assert watch.until(watch.notice) < 1
    assert watch.notice().leave
    assert 29 < watch.notice().seconds_left() <= 30
    assert watch.alerts() == []


def test_a_change_between_two_requests_is_not_missed(service: Any, preempted: Preempted) -> None:
    provider = Gcp(MetadataServer(service.url), 30.0)
    assert provider.look() is None
    preempted.preempt()
    began = time.monotonic()
    assert provider.look() is not None
    assert time.monotonic() - began < 1


def test_a_wait_that_ends_without_a_change_is_begun_anew(service: Any, preempted: Preempted) -> None:
    provider = Gcp(MetadataServer(service.url), 30.0, wait_seconds=1)
    assert [provider.look() for _ in range(3)] == [None, None, None]
    assert preempted.waiting == 2


def test_without_an_etag_it_is_asked_again_and_again(start: Any, service: Any) -> None:
    answers = iter(["FALSE", "FALSE"])
    service.answer = lambda request: (200, next(answers, "TRUE"))
    watch = start(provider="gcp", endpoint=service.url, poll_seconds=0.1)
    watch.until(watch.notice)
    assert all("wait_for_change" not in request.path for request in service.requests)


@pytest.mark.parametrize("reply", [(200, "maybe"), (503, "TRUE"), (404, "")])
def test_only_a_true_is_a_notice(service: Any, reply: tuple[int, str]) -> None:
    service.answer = lambda request: reply
    with pytest.raises(Unanswered, match=r"http://127\.0\.0\.1"):
        Gcp(MetadataServer(service.url), 30.0).look()
