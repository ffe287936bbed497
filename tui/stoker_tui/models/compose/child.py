"""A child process that answers requests over pipes, and what is left to say when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import IO, Any

from stoker.run.lines import clean

_COMMAND = (sys.executable, "-P", "-m", "stoker.bench")
_SHOWN_CHARACTERS = 400

Answer = Mapping[str, Any]


class Superseded(Exception):
    """A newer request of the same kind was made; nobody needs this answer."""


class Child:
    """A running process. Ends by itself when this one does: its input ends then."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        # Whatever it or a plugin says is kept: its last lines are the reason if it dies.
        self._errors: IO[bytes] = tempfile.TemporaryFile(prefix="stoker-")  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            command or _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**environment, "NO_COLOR": "1"},
            start_new_session=True,
        )
        self._waiting: dict[int, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._last_id = 0
        self._failure = ""
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return not self._failure and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, method: str, arguments: Mapping[str, Any], seconds: float) -> Answer:
        """Wait for an answer. Raises `TimeoutError`; one that cannot come has `failure`, in words."""
        future: Future[Answer] = Future()
        with self._lock:
            if self._failure:
                return {"failure": self._failure}
            self._last_id += 1
            number = self._last_id
            self._waiting[number] = future
            request = {"id": number, "method": method, "arguments": arguments}
            self._send(json.dumps(request))
        try:
            return future.result(seconds)
        except FutureTimeoutError as error:
            raise TimeoutError from error
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def end(self, why: str) -> None:
        """End it, and tell those who wait."""
        self._fail(why)
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._close()

    def _send(self, line: str) -> None:
        """A process that is gone is noticed by the reader."""
        if self._process.stdin is not None:
            with suppress(OSError, ValueError):
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()

    def _read(self) -> None:
        output = self._process.stdout
        for line in output or ():
            with suppress(ValueError):
                self._give(json.loads(line))
        code = self._process.wait()
        self._fail(self._last_words(code))

    def _give(self, answer: Mapping[str, Any]) -> None:
        with self._lock:
            future = self._waiting.get(answer.get("id", 0))
        if future is not None:
            future.set_result(answer)

    def _fail(self, why: str) -> None:
        with self._lock:
            self._failure = self._failure or why
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for future in waiting:
            if not future.done():
                future.set_result({"failure": self._failure})

    def _last_words(self, code: int) -> str:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        try:
            self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _SHOWN_CHARACTERS))
            said = clean(self._errors.read().decode(errors="replace")).strip().splitlines()
        except (OSError, ValueError):
            said = []
        last = f": {said[-1]}" if said else "."
        return f"the process that checks and plans {how}{last}"

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
