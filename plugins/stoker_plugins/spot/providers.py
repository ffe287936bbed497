"""What is known about each provider, and how to make the one that looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from stoker.run.notices import Notice
from stoker_plugins.spot.aws import Aws
from stoker_plugins.spot.azure import Azure
from stoker_plugins.spot.gcp import Gcp
from stoker_plugins.spot.metadata import MetadataServer
from stoker_plugins.spot.notice_file import NoticeFile

if TYPE_CHECKING:
    from stoker_plugins.spot import SpotConfig


class Provider(Protocol):
    """Someone who can be asked whether this machine stays."""

    name: str

    def look(self) -> Notice | None:
        """Look once; may block for seconds. Raises `Unanswered` where there is no answer."""


@dataclass(frozen=True)
class Facts:
    """Defaults of one provider, from its documentation; docs/preemption.md names the sources."""

    grace_seconds: float | None
    """From a notice to the end; None where only the recipe can know."""
    poll_seconds: float | None = None
    """Between two looks; None where a signal is the notice and nothing is looked at."""
    endpoint: str | None = None
    """Base URL of its metadata service, if it has one."""


FACTS: Final = {
    "aws": Facts(120.0, 5.0, "http://169.254.169.254"),
    "gcp": Facts(30.0, 1.0, "http://metadata.google.internal"),
    "azure": Facts(30.0, 1.0, "http://169.254.169.254"),
    "slurm": Facts(30.0),
    "kubernetes": Facts(30.0),
    "runpod": Facts(5.0),
    "file": Facts(None, 1.0),
}


def grace_seconds_of(config: SpotConfig, provider: str) -> float | None:
    """From a notice of `provider` to the end, as the recipe says or else as is known."""
    return FACTS[provider].grace_seconds if config.grace_seconds is None else config.grace_seconds


def make_provider(
    name: str, *, endpoint: str | None, notice_file: Path | None, grace_seconds: float | None
) -> Provider:
    """The provider of that name, one that is looked at: not one whose notices are signals."""
    if name == "file":
        assert notice_file is not None
        return NoticeFile(notice_file, grace_seconds)
    assert endpoint is not None
    assert grace_seconds is not None
    clouds: dict[str, type[Aws | Gcp | Azure]] = {"aws": Aws, "gcp": Gcp, "azure": Azure}
    return clouds[name](MetadataServer(endpoint), grace_seconds)
