"""The thread, and services that do not do their part."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stoker.run.notices import Notice
from stoker.testing import tiny_fit
from stoker_plugins.spot import Spot, SpotConfig
from stoker_plugins.spot.metadata import MetadataServer, Unanswered
from stoker_plugins.spot.watcher import Watcher


class Scripted:
    """A provider whose looks are written down; the last one is repeated."""

    name = "scripted"

    def __init__(self, *looks: Notice | Exception | None) -> None:
        self.looks = list(looks)
        self.times: list[float] = []

    def look(self) -> Notice | None:
        self.times.append(time.monotonic())
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return look


def run_for(provider: Scripted, seconds: float, poll: float = 0.05, grace: float = 30.0) -> Watcher:
    watcher = Watcher(provider, poll, grace)
    watcher.start()
    time.sleep(seconds)
    watcher.stop()
    return watcher


def test_it_looks_no_more_after_a_notice_to_leave() -> None:
    notice = Notice(provider="scripted", reason="over")
    provider = Scripted(None, notice)
    assert run_for(provider, 0.4).latest is notice
    assert len(provider.times) == 2


def test_it_looks_less_and_less_often_where_nobody_answers_and_says_so_once() -> None:
    provider = Scripted(Unanswered("it is gone"))
    watcher = run_for(provider, 0.8)
    first, second, *_ = [b - a for a, b in zip(provider.times, provider.times[1:], strict=False)]
    assert first >= 0.09
    assert second >= 0.19
    (message,) = watcher.take_messages()
    assert "scripted: it is gone." in message
    assert watcher.take_messages() == []


def test_it_never_pauses_for_more_than_a_quarter_of_the_lead() -> None:
    provider = Scripted(Unanswered("gone"))
    run_for(provider, 1.5, grace=0.8)
    assert len(provider.times) > 5, "doubled without end, the fifth pause is not over yet"


def test_a_mistake_in_a_provider_is_told_and_ends_nothing() -> None:
    watcher = run_for(Scripted(ValueError("odd"), None), 0.3)
    (message,) = watcher.take_messages()
    assert "ValueError: odd" in message


def test_an_address_where_nobody_listens_is_named(start: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        watch = start(provider="gcp", endpoint=url, poll_seconds=0.1)
        watch.until(watch.alerts)
    (alert,) = watch.alerts()
    assert url in alert
    assert "Connection refused" in alert


def test_a_service_that_hangs_blocks_nothing_but_its_thread(service: Any, start: Any) -> None:
    service.answer = lambda request: (service.released.wait(20), (200, "TRUE"))[1]
    watch = start(provider="gcp", endpoint=service.url)
    watch.until(lambda: service.requests)
    began = time.monotonic()
    for _ in range(1000):
        assert watch.notice() is None
    watch.plugin.on_exception(watch.run)
    assert time.monotonic() - began < 2


def test_a_request_ends_after_its_timeout(service: Any) -> None:
    service.answer = lambda request: (service.released.wait(20), (200, ""))[1]
    began = time.monotonic()
    with pytest.raises(Unanswered, match="timed out"):
        MetadataServer(service.url, timeout_seconds=0.3).ask("/", {})
    assert time.monotonic() - began < 1


def test_a_redirect_is_not_followed(service: Any, new_service: Any, start: Any) -> None:
    other = new_service()
    service.answer = lambda request: (302, "", {"Location": f"{other.url}/"})
    watch = start(provider="gcp", endpoint=service.url, poll_seconds=0.1)
    watch.until(watch.alerts)
    assert "302" in watch.alerts()[0]
    assert other.requests == []


@contextmanager
def speaker(talk: Callable[[socket.socket], object]) -> Iterator[MetadataServer]:
    """Whoever listens at an address and speaks as `talk` does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as connection, contextlib.suppress(OSError):
                connection.recv(4096)
                talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield MetadataServer(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_seconds=2)
        thread.join(10)


def test_an_endless_answer_is_cut_off() -> None:
    sent: list[int] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(2000):
            sent.append(connection.send(b"x" * 2**16))

    with speaker(talk) as server, pytest.raises(Unanswered, match="more than 65536 bytes"):
        server.ask("/", {})
    assert sum(sent) < 2**25, "of 2**27, the rest is what sockets buffer"


def test_what_speaks_another_language_is_no_answer() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 smtp ready\r\n")

    with speaker(talk) as server, pytest.raises(Unanswered) as error:
        server.ask("/", {})
    assert server.endpoint in str(error.value)


@pytest.fixture
def contacted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses of all connections that this process asks for."""
    addresses: list[Any] = []
    really = socket.create_connection

    def record(address: Any, *arguments: Any, **options: Any) -> socket.socket:
        addresses.append(address)
        return really(address, *arguments, **options)

    monkeypatch.setattr(socket, "create_connection", record)
    return addresses


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
def test_nobody_but_the_endpoint_is_contacted(
    provider: str, service: Any, new_service: Any, start: Any, contacted: list[Any], monkeypatch: Any
) -> None:
    proxy = new_service()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    watch = start(provider=provider, endpoint=service.url, poll_seconds=0.1)
    watch.until(lambda: len(service.requests) >= 3)
    assert set(contacted) == {("127.0.0.1", service.server_port)}
    assert proxy.requests == []


def test_only_one_rank_of_a_node_looks(service: Any, start: Any, spot_threads: Any) -> None:
    watch = start(1, provider="gcp", endpoint=service.url)
    time.sleep(0.2)
    assert watch.notice() is None
    assert (service.requests, spot_threads()) == ([], [])


def test_nothing_is_started_where_the_recipe_does_not_name_it(
    tmp_path: Any, contacted: list[Any], spot_threads: Any
) -> None:
    tiny_fit(tmp_path)
    assert (contacted, spot_threads()) == ([], [])


def test_checking_a_recipe_asks_nobody(contacted: list[Any], spot_threads: Any) -> None:
    nothing: Any = None
    assert Spot(SpotConfig(provider="aws")).collect_problems(nothing) == []
    assert (contacted, spot_threads()) == ([], [])
