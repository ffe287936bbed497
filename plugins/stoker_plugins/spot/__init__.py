"""Hears that this machine is about to be taken away, and tells the core, which saves and leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker_plugins.spot.problems import find_problems
from stoker_plugins.spot.providers import FACTS, grace_seconds_of, make_provider
from stoker_plugins.spot.recognition import recognise_here
from stoker_plugins.spot.signalled import signal_notice
from stoker_plugins.spot.watcher import Watcher

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.problems import Problem
    from stoker.run.context import Run
    from stoker.run.notices import Notice


class SpotConfig(PluginConfig):
    """Who may take the machine away, and how long that takes from the notice on."""

    provider: Literal["auto", "aws", "gcp", "azure", "slurm", "kubernetes", "runpod", "file"] = Field(
        default="auto",
        description="Who gives notice: the metadata service of a cloud, SIGTERM from `slurm`, "
        "`kubernetes` or `runpod`, or a `file`. `auto` looks where the run is, and says what it took.",
    )
    grace_seconds: float | None = Field(
        default=None,
        ge=0,
        description="Seconds from a notice to the end. Unset: aws 120, gcp, azure, slurm and "
        "kubernetes 30, runpod 5; for `file` as long as it takes.",
    )
    poll_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds between two looks. Unset: aws 5, gcp, azure and file 1.",
    )
    notice_file: Path | None = Field(
        default=None,
        description='For `file`: its appearance is the notice. It may hold {"reason": "...", '
        '"seconds_left": 60}.',
    )
    endpoint: str | None = Field(
        default=None,
        description="Base URL of the metadata service, http only. Unset: the provider's own address.",
    )


class Spot(Plugin[SpotConfig]):
    """Save and leave when the provider of this machine says that it takes it away.

    One thread on each node looks, so training waits for nothing. Notices of the clouds and a file count
    on the node that finds them, SIGTERM on the rank that gets it; the core agrees on them everywhere.
    """

    Config: ClassVar[type[PluginConfig]] = SpotConfig
    safe_on_resume = (
        "enabled",
        "provider",
        "grace_seconds",
        "poll_seconds",
        "notice_file",
        "endpoint",
    )

    def __init__(self, config: SpotConfig) -> None:
        super().__init__(config)
        self._provider: str = config.provider
        self._watcher: Watcher | None = None

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """Options that contradict each other, or that the provider does not have."""
        return list(find_problems(self.config))

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Begin to look. Raises `MissingRequirementError` where `auto` recognises nothing."""
        if self.config.provider == "auto":
            self._provider, because = recognise_here()
            if run.is_main:
                message = f"spot: heeds notices of {self._provider}, because {because}"
                run.events.write("note", message=message)
        if FACTS[self._provider].poll_seconds is not None and run.local_rank == 0:
            self._watcher = self._make_watcher()
            self._watcher.start()

    def _make_watcher(self) -> Watcher:
        config, facts = self.config, FACTS[self._provider]
        grace = grace_seconds_of(config, self._provider)
        provider = make_provider(
            self._provider,
            endpoint=config.endpoint or facts.endpoint,
            notice_file=config.notice_file,
            grace_seconds=grace,
        )
        return Watcher(provider, config.poll_seconds or facts.poll_seconds or 1.0, grace)

    @hookimpl
    def collect_notices(self, run: Run) -> Notice | None:
        """The latest notice: what the thread has found, or what a signal means here."""
        if self._watcher is not None:
            self._report(run)
            return self._watcher.latest
        if FACTS[self._provider].poll_seconds is not None:
            return None  # another rank of this node looks
        grace = grace_seconds_of(self.config, self._provider)
        return signal_notice(self._provider, run.signals, grace or 0.0)

    def _report(self, run: Run) -> None:
        # Events have one writer for each process: the thread only leaves sentences behind.
        for message in self._watcher.take_messages() if self._watcher else []:
            run.events.write("alert", message=message)

    @hookimpl
    def on_run_end(self, run: Run) -> None:
        self._stop(run)

    @hookimpl
    def on_exception(self, run: Run) -> None:
        self._stop(run)

    def _stop(self, run: Run) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._report(run)
