"""Reads requests from standard input and writes answers to standard output, until the input ends.

A request is `{"id": 1, "method": "plan", "arguments": {...}}`. Its answer has the id and `result`, or
`error` with a message and a hint, or `superseded`: a newer request of the same method came first.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from stoker.bench.answers import METHODS, SLOW_METHODS
from stoker.errors import StokerError

Request = dict[str, Any]
Writer = Callable[[Mapping[str, Any]], None]


class Superseded(Exception):
    """Nobody waits for the answer any more."""


class Desk:
    """Requests that wait: of each method the newest."""

    def __init__(self, answer: Writer) -> None:
        self._answer = answer
        self._waiting: dict[str, Request] = {}
        self._order: deque[str] = deque()
        self._newest: dict[str, int] = {}
        self._changed = threading.Condition()

    def put(self, request: Request) -> None:
        """Take in a request, and give up the one it supersedes."""
        method = request["method"]
        with self._changed:
            old = self._waiting.get(method)
            self._waiting[method] = request
            self._newest[method] = request["id"]
            if old is None:
                self._order.append(method)
            self._changed.notify()
        if old is not None:
            self._answer({"id": old["id"], "superseded": True})

    def take(self) -> Request:
        """The request that waits longest; blocks until there is one."""
        with self._changed:
            while not self._order:
                self._changed.wait()
            return self._waiting.pop(self._order.popleft())

    def is_stale(self, request: Request) -> bool:
        """Whether a newer one of its method has come."""
        return bool(self._newest[request["method"]] != request["id"])


def main() -> None:
    """Serve until the other side is gone, even in the middle of an answer."""
    # What plugins print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    write = _writer(answers)
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    _close_input()
    # One that takes long keeps nobody waiting but the next of its own.
    desks = {method: Desk(write) for method in SLOW_METHODS}
    desk = Desk(write)
    for each in desks.values():
        threading.Thread(target=_serve, args=(each, write), daemon=True).start()
    threading.Thread(target=_read, args=(requests, desks, desk), daemon=True).start()
    _serve(desk, write)


def _serve(desk: Desk, write: Writer) -> None:
    while True:
        _answer(desk.take(), desk, write)


def _close_input() -> None:
    """A plugin that reads from standard input finds its end, and takes no request."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _writer(answers: TextIO) -> Writer:
    lock = threading.Lock()

    def write(answer: Mapping[str, Any]) -> None:
        line = json.dumps(answer, default=str)
        with lock:
            try:
                answers.write(f"{line}\n")
                answers.flush()
            except OSError:
                _leave()

    return write


def _read(requests: TextIO, desks: Mapping[str, Desk], others: Desk) -> None:
    for line in requests:
        request = json.loads(line)
        desks.get(request["method"], others).put(request)
    _leave()


def _leave() -> None:
    """The other side is gone; neither an unfinished answer nor a plugin that hangs keeps us here."""
    sys.stderr.flush()
    os._exit(0)


def _answer(request: Request, desk: Desk, write: Writer) -> None:
    def go_on() -> None:
        """Raises `Superseded` once a newer request waits."""
        if desk.is_stale(request):
            raise Superseded

    try:
        result = METHODS[request["method"]](go_on, **request["arguments"])
        write({"id": request["id"], "result": result})
    except Superseded:
        write({"id": request["id"], "superseded": True})
    except StokerError as error:
        write({"id": request["id"], "error": {"message": error.message, "hint": error.hint}})
    except (Exception, SystemExit) as error:
        message = f"{request['method']}: {type(error).__name__}: {error}"
        write({"id": request["id"], "error": {"message": message, "hint": ""}})
