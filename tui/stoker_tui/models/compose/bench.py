"""Asks `stoker.bench`, a process of its own, what it thinks of a text; starts it again if it dies.

All methods block until there is an answer: call them from a worker. Of each method the newest request
wins; one that it overtakes raises `Superseded`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker_tui.models.compose.child import Child, Superseded
from stoker_tui.models.compose.effective import named

__all__ = ["Bench", "BenchError", "Superseded"]

_SECONDS = {
    "schema": 150.0,
    "check": 30.0,
    "plan": 30.0,
    "neighbours": 60.0,
    "compare": 120.0,
    "preview": 300.0,
}
"""How long an answer may take. The first one imports plugins, maybe from a slow disk."""


class BenchError(StokerError):
    """There is no answer, and why."""


class Bench:
    """One child process, started with the first request."""

    def __init__(
        self, seconds: dict[str, float] | None = None, command: Sequence[str] | None = None
    ) -> None:
        """`seconds` replaces limits by method, `command` the process."""
        self._seconds = {**_SECONDS, **(seconds or {})}
        self._command = command
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._schema: dict[str, Any] | None = None
        self._is_closed = False
        self.failures: dict[str, str] = {}
        """Plugins that could not be described, and why; known once `schema` was asked for."""

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of recipes with every installed plugin; asked for once."""
        if self._schema is None:
            answer = self._ask("schema")
            self._schema, self.failures = answer["schema"], answer["failures"]
        return self._schema

    def check(self, text: str, path: Path | None, overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Problems in the shape of `check --json`, with their fixes."""
        answer = self._ask("check", **_recipe(text, path, overrides))
        problems: list[dict[str, Any]] = answer["problems"]
        return problems

    def plan(
        self, text: str, path: Path | None, overrides: Sequence[str] = (), **machines: Any
    ) -> dict[str, Any]:
        """Check and plan at once: `ok`, `problems`, `plan` and `unplanned`.

        `plan` has the shape of `plan --explain --json`; it is None where the recipe has errors, and
        where `unplanned` says with `message` and `hint` why it cannot be planned. `machines` are options
        of `stoker plan`: gpu, gpus, nodes, provider, price, prices.
        """
        return self._ask("plan", **_recipe(text, path, overrides), **machines)

    def compare(
        self, text: str, path: Path | None, overrides: Sequence[str] = (), **options: Any
    ) -> dict[str, Any]:
        """The shape of `plan --compare --json`.

        `options` are by, limit, any_method, everything, and `machines` as in `plan`.
        """
        return self._ask("compare", **_recipe(text, path, overrides), **options)

    def neighbours(
        self, text: str, path: Path | None, overrides: Sequence[str] = (), **machines: Any
    ) -> dict[str, Any]:
        """The rows `cheaper` and `faster` that are one change away, None where none is; and `steps`.

        See `stoker.bench.neighbours` for what rows have beside those of `compare`.
        """
        return self._ask("neighbours", **_recipe(text, path, overrides), **machines)

    def preview(
        self, text: str, path: Path | None, overrides: Sequence[str] = (), count: int = 3
    ) -> dict[str, Any]:
        """The shape of `check --show-data N --json`; see `models.compose.preview`. Takes seconds."""
        return self._ask("preview", **_recipe(text, path, overrides), count=count)

    def close(self) -> None:
        """End the process; who waits gets a `BenchError`."""
        with self._lock:
            self._is_closed = True
            child, self._child = self._child, None
        if child is not None:
            child.end("the cockpit ends.")

    def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        seconds = self._seconds[method]
        child = self._running()
        try:
            answer = child.ask(method, arguments, seconds)
        except TimeoutError as error:
            message = f"{method}: no answer within {seconds:g} s; it was given up."
            child.end(message)
            raise BenchError(
                message, hint="Does a plugin wait for something when it is imported?"
            ) from error
        if "failure" in answer:
            raise BenchError(f"{method}: {answer['failure']}", hint="It is started again when asked.")
        if "error" in answer:
            raise BenchError(answer["error"]["message"], hint=answer["error"]["hint"])
        if "superseded" in answer:
            raise Superseded
        result: dict[str, Any] = answer["result"]
        return result

    def _running(self) -> Child:
        with self._lock:
            if self._is_closed:
                raise BenchError("the cockpit ends.")
            if self._child is not None and not self._child.is_alive:
                self._child.end("it ended.")
                self._child = None
            if self._child is None:
                self._child = Child(self._command)
            return self._child


def _recipe(text: str, path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    return {"text": text, "path": str(named(path)), "overrides": list(overrides)}
