"""Data sets of a hub: the real client against a small hub on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

COMMIT = "a" * 40
ROWS = [{"text": f"row {number}"} for number in range(5)]
FILES = {
    "README.md": b"---\nlicense: cc0-1.0\n---\n",
    "train.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
}
LOAD = """
import json, sys
from stoker.data.problems import DataError
from stoker.data.sources import resolve_source
from stoker.recipe.schema import DataSource
try:
    source = resolve_source(DataSource(path=sys.argv[1], format="text", split=sys.argv[2]), {})
    answer = {"rows": [row for _, row, _ in source.parts[0].open()], "digest": source.parts[0].digest}
except DataError as error:
    answer = {"message": error.message, "hint": error.hint}
print(json.dumps(answer))
"""


class _Hub(BaseHTTPRequestHandler):
    """What the client asks of https://huggingface.co for one public data set `org/data`."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if path.startswith(f"/api/datasets/org/data/tree/{COMMIT}"):
            self._answer([self._entry(file) for file in FILES] if name == COMMIT else [])
        elif path == "/api/datasets/org/data" or path.startswith("/api/datasets/org/data/revision/"):
            siblings = [{"rfilename": file} for file in FILES]
            self._answer({"id": "org/data", "sha": COMMIT, "tags": [], "siblings": siblings})
        elif path.startswith("/datasets/org/data/resolve/"):
            self._answer_file(name)
        elif path == "/api/datasets/org/gated":
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _entry(self, file: str) -> dict[str, Any]:
        return {"type": "file", "path": file, "size": len(FILES[file]), "oid": "b" * 40}

    def _answer(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer_file(self, name: str) -> None:
        if name in FILES:
            tag = sha1(FILES[name], usedforsecurity=False).hexdigest()
            self._send(200, FILES[name], {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The address of a hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def load(address: str, home: Path, path: str, split: str = "train", **environment: str) -> Any:
    """Load a data set in a process of its own: the client reads its settings once."""
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        environment.setdefault(name, "")
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, path, split],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    # The client says there whenever it tries again.
    assert "Retrying" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_rows_of_a_hub_are_read_and_later_found_in_its_cache(hub: str, tmp_path: Path) -> None:
    loaded = load(hub, tmp_path, "org/data")
    assert loaded["rows"] == ROWS
    offline = load("http://127.0.0.1:9", tmp_path, "org/data", HF_HUB_OFFLINE="1")
    assert offline == loaded


@pytest.mark.parametrize(
    ("path", "split", "message", "hint"),
    [
        ("org/none", "train", "there is no such data set", "HF_TOKEN"),
        ("org/gated", "train", "the data set is gated", "HF_TOKEN"),
        ("org/data", "tests", "Unknown split \"tests\". Should be one of ['train']", "spelling"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    hub: str, tmp_path: Path, path: str, split: str, message: str, hint: str
) -> None:
    refused = load(hub, tmp_path, path, split)
    assert message in refused["message"]
    assert "\n" not in refused["message"]
    assert hint in refused["hint"]


def test_a_hub_out_of_reach_is_told_at_once_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        refused = load(address, tmp_path, "org/data")
    assert "org/data (split 'train')" in refused["message"]
    assert "no connection: " in refused["message"]
    assert "\n" not in refused["message"]
    assert "HF_HUB_OFFLINE=1" in refused["hint"]
