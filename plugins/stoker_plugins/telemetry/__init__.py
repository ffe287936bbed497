"""Samples what machines and ranks do while a run trains, into files of the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.run.events import EventWriter
from stoker.run.files import make_private_directory
from stoker.run.host import host_name
from stoker_plugins.telemetry.pace import Pace
from stoker_plugins.telemetry.sampler import Sampler

if TYPE_CHECKING:
    from stoker.run.context import Run
    from stoker.train.state import State


class TelemetryConfig(PluginConfig):
    """How often to look."""

    interval_seconds: float = Field(
        default=2.0, ge=0.1, le=600, description="Seconds between two samples, and two lines of a rank."
    )


class Telemetry(Plugin[TelemetryConfig]):
    """GPUs: utilisation, memory, power, temperature; hosts: CPU, memory, disk, network; pace of ranks.

    A thread of one rank on each host asks the driver and the system; training waits for nothing. Each
    rank adds its step time, its wait for others and its MFU, from numbers that are on the host anyway.
    Without an NVIDIA driver the file says that GPUs are not available.
    """

    Config: ClassVar[type[PluginConfig]] = TelemetryConfig
    safe_on_resume = ("enabled", "interval_seconds")
    failure_policy = "degrade"

    def __init__(self, config: TelemetryConfig) -> None:
        super().__init__(config)
        self._sampler: Sampler | None = None
        self._pace: Pace | None = None

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Begin to sample, on the first rank of each host."""
        if run.local_rank == 0:
            self._sampler = Sampler(_samples(run), run.directory.path, self.config.interval_seconds)
            self._sampler.start()

    @hookimpl
    def on_train_start(self, state: State) -> None:
        from stoker_plugins.telemetry.place import gpu_index

        self._pace = Pace(
            _samples(state.run),
            self.config.interval_seconds,
            work=state.work,
            gpu_index=gpu_index(state.engine.device),
        )

    @hookimpl
    def on_log(self, state: State, rows: Sequence[Mapping[str, float]]) -> None:
        if self._pace is not None:
            self._pace.note(rows)
        self._tell(state.run)

    @hookimpl
    def on_train_end(self, state: State) -> None:
        if self._pace is not None:
            self._pace.close()

    @hookimpl
    def on_run_end(self, run: Run) -> None:
        self._stop(run)

    @hookimpl
    def on_exception(self, run: Run) -> None:
        self._stop(run)

    def _stop(self, run: Run) -> None:
        if self._sampler is not None:
            self._sampler.stop()
            self._tell(run)

    def _tell(self, run: Run) -> None:
        # Events have one writer for each process: the thread only leaves sentences behind.
        for message in self._sampler.take_messages() if self._sampler else []:
            run.events.write("note", message=message)


def _samples(run: Run) -> EventWriter:
    """A writer of whole lines to this host's file; ranks of a host have one each."""
    make_private_directory(run.directory.telemetry_path)
    path = run.directory.telemetry_path / f"{host_name()}.jsonl"
    return EventWriter(path, run.attempt, run.rank)
