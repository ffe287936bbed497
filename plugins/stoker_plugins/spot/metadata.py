"""Asks a metadata service: no proxies, no redirects, short answers, and never for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from stoker.recipe.problems import printable

_LONGEST_BYTES: Final = 2**16


class Unanswered(Exception):
    """Who was asked gave no answer that can be used; the text says who and why."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    url: str
    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def refusal(self) -> Unanswered:
        """The error for a status that is none of the expected ones."""
        return Unanswered(f"{self.url} answers with status {self.status}")

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises `Unanswered` where it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unanswered(f"{self.url} answers with something that is no JSON object")
        return found

    def seconds_until(self, moment: datetime | None) -> float | None:
        """From now to `moment` by the clock of who answered, else by ours: that one may be wrong."""
        if moment is None:
            return None
        now = parse_time(self.headers.get("date", "")) or datetime.fromtimestamp(time.time(), UTC)
        return (moment - now).total_seconds()


def parse_time(text: object) -> datetime | None:
    """A time as in `2026-01-01T00:00:00Z` or `Thu, 01 Jan 2026 00:00:00 GMT`; None for anything else."""
    if not isinstance(text, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError, IndexError, TypeError):
            continue
    return None


def one_line(text: object, longest: int) -> str:
    """Foreign text for events and terminals: no more than so many characters, all of them visible."""
    return printable(" ".join(str(text).split()))[:longest]


class MetadataServer:
    """The service at one base URL, `http://HOST[:PORT][/PATH]`."""

    def __init__(self, endpoint: str, timeout_seconds: float = 5.0) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.timeout_seconds = timeout_seconds
        """For connecting, and for each part of an answer."""
        parts = urlsplit(self.endpoint)
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path

    def ask(
        self,
        path: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        timeout_seconds: float | None = None,
    ) -> Answer:
        """Send one request, over a connection of its own; any status is an answer.

        Raises `Unanswered` where none comes in time, or one of more than 64 KiB.
        """
        url = self.endpoint + path
        # http.client reads no proxy variables and follows nothing.
        connection = HTTPConnection(
            self._host, self._port, timeout=timeout_seconds or self.timeout_seconds
        )
        try:
            connection.request(method, self._path + path, headers={"Connection": "close", **headers})
            response = connection.getresponse()
            body = response.read(_LONGEST_BYTES + 1)
        except (OSError, HTTPException) as error:
            raise Unanswered(f"{url} cannot be read: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if len(body) > _LONGEST_BYTES:
            raise Unanswered(f"{url} answers with more than {_LONGEST_BYTES} bytes")
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(url, response.status, body.decode(errors="replace"), found)
