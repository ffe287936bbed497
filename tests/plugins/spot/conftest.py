"""Metadata services on loopback, and a run for the plugin to talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stoker.dispatch import Hooks
from stoker.run.context import Run
from stoker.run.events import EventWriter, read_events
from stoker.train.signals import SignalFlags
from stoker_plugins.spot import Spot, SpotConfig


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]


Reply = tuple[int, str] | tuple[int, str, dict[str, str]]


class Service(ThreadingHTTPServer):
    """Answers with what `answer(request)` returns; an answer may wait for `released`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[Request], Reply] = lambda request: (404, "")
        self.requests: list[Request] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that have gone are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def _reply(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        self.server.requests.append(request)
        status, body, *more = self.server.answer(request)
        self.send_response(status)
        for name, value in (more[0] if more else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_PUT = _reply  # noqa: N815 - the library's names

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(time.time() + getattr(self.server, "clock_is_ahead", 0.0))

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def new_service() -> Iterator[Callable[[], Service]]:
    services: list[Service] = []

    def make() -> Service:
        services.append(Service())
        threading.Thread(target=services[-1].serve_forever, args=(0.02,), daemon=True).start()
        return services[-1]

    yield make
    for service in services:
        service.released.set()
        service.shutdown()
        service.server_close()


@pytest.fixture
def service(new_service: Callable[[], Service]) -> Service:
    return new_service()


@dataclass
class Watch:
    """A plugin that was started as a rank starts it."""

    plugin: Spot
    run: Run
    began: float = field(default_factory=time.monotonic)

    def notice(self) -> Any:
        return self.plugin.collect_notices(self.run)

    def alerts(self) -> list[str]:
        return [e["message"] for e in read_events(self.run.events.path) if e["kind"] == "alert"]

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> float:
        """Ask as boundaries do until the condition holds. Returns the seconds that it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, "it never happened"
            time.sleep(0.01)
            self.notice()
        return time.monotonic() - began


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    """`start(provider="aws", ...)`: options of the plugin; `local_rank` is the rank's."""
    watches: list[Watch] = []

    def begin(local_rank: int = 0, **options: Any) -> Watch:
        events = EventWriter(tmp_path / "events.jsonl", attempt=1, rank=local_rank)
        nothing: Any = None
        run = Run(nothing, Hooks(), nothing, events, rank=local_rank, local_rank=local_rank)
        run.signals = SignalFlags()
        watches.append(Watch(Spot(SpotConfig(**options)), run))
        watches[-1].plugin.on_run_start(run)
        return watches[-1]

    yield begin
    for watch in watches:
        watch.plugin.on_run_end(watch.run)
        watch.run.events.close()


@pytest.fixture
def spot_threads() -> Callable[[], list[str]]:
    return lambda: [thread.name for thread in threading.enumerate() if thread.name.startswith("spot")]
