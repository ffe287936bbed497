"""What is wrong with a `[plugins.trackers]` table beyond the types of its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stoker.recipe.problems import Problem

if TYPE_CHECKING:
    from stoker_plugins.trackers.config import TrackersConfig


def find_problems(config: TrackersConfig) -> Iterator[Problem]:
    """All of them."""
    if len(set(config.use)) < len(config.use):
        yield _problem("use", "a tracker stands there twice.", "Name each once.")
    yield from _unused_tables(config)
    yield from _address_problems("wandb.base_url", config.wandb.base_url)
    yield from _address_problems("mlflow.tracking_uri", config.mlflow.tracking_uri)
    yield from _login_problems(config)


def _unused_tables(config: TrackersConfig) -> Iterator[Problem]:
    for name, table in (("wandb", config.wandb), ("mlflow", config.mlflow)):
        if name not in config.use and table != type(table)():
            hint = f"Add {name!r} to use, or take the table out."
            yield _problem(name, f"tracker {name!r} is not used.", hint)


def _address_problems(key: str, text: str | None) -> Iterator[Problem]:
    if text is None:
        return
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        hint = "Leave it out for the default."
        yield _problem(key, f"expected http://HOST or https://HOST, found {text!r}.", hint)
    elif "@" in parts.netloc:
        hint = "Secrets have options of their own, as env:NAME."
        yield _problem(key, "an address with a user or a password in it.", hint)


def _login_problems(config: TrackersConfig) -> Iterator[Problem]:
    mlflow = config.mlflow
    if (mlflow.username is None) != (mlflow.password is None):
        yield _problem("mlflow", "username and password go together.", "Set both, or neither.")
    if mlflow.password is not None and mlflow.token is not None:
        yield _problem("mlflow.token", "both a password and a token.", "Set one of them.")


def _problem(option: str, message: str, hint: str) -> Problem:
    return Problem(key=f"plugins.trackers.{option}", message=message, hint=hint)
