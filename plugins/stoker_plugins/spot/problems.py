"""What is wrong with a `[plugins.spot]` table beyond the types of its values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stoker.recipe.problems import Fix, Problem
from stoker_plugins.spot.providers import FACTS, grace_seconds_of

if TYPE_CHECKING:
    from stoker_plugins.spot import SpotConfig


def find_problems(config: SpotConfig) -> Iterator[Problem]:
    """All of them."""
    yield from _file_problems(config)
    yield from _endpoint_problems(config)
    yield from _time_problems(config)


def _file_problems(config: SpotConfig) -> Iterator[Problem]:
    if config.provider == "file" and config.notice_file is None:
        yield _problem("notice_file", "provider 'file' needs the path of a file.", "Set notice_file.")
    elif config.provider != "file" and config.notice_file is not None:
        message = f"provider {config.provider!r} looks at no file."
        yield _problem("notice_file", message, "Set provider to 'file', or take notice_file out.")


def _endpoint_problems(config: SpotConfig) -> Iterator[Problem]:
    if config.endpoint is None:
        return
    if config.provider == "auto":
        hint = "Set provider to aws, gcp or azure."
        yield _problem("endpoint", "whose it is depends on what 'auto' finds.", hint)
    elif FACTS[config.provider].endpoint is None:
        message = f"provider {config.provider!r} has no metadata service."
        yield _problem("endpoint", message, "Take endpoint out.")
    if not _is_base_url(config.endpoint):
        message = (
            f"expected http://HOST, http://HOST:PORT or one with a path, found {config.endpoint!r}."
        )
        yield _problem("endpoint", message, "Leave it out for the provider's own address.")


def _is_base_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc or port == 0)
    # Spaces and control characters would end up in a request.
    visible = text.isascii() and text.isprintable() and " " not in text
    return parts.scheme == "http" and bool(parts.hostname) and plain and visible


def _time_problems(config: SpotConfig) -> Iterator[Problem]:
    if config.poll_seconds is None or config.provider == "auto":
        return
    facts = FACTS[config.provider]
    grace = grace_seconds_of(config, config.provider)
    if facts.poll_seconds is None:
        message = f"provider {config.provider!r} sends a signal; nothing is looked at."
        fix = Fix(action="unset", key="plugins.spot.poll_seconds")
        yield replace(_problem("poll_seconds", message, "Take poll_seconds out."), fix=fix)
    elif grace is not None and config.poll_seconds > grace:
        message = f"a look every {config.poll_seconds:g} s misses notices of {grace:g} s."
        yield _problem("poll_seconds", message, "Look more often than every grace_seconds.")


def _problem(option: str, message: str, hint: str) -> Problem:
    return Problem(key=f"plugins.spot.{option}", message=message, hint=hint)
