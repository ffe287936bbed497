"""The latest samples of GPUs and hosts, from a run's telemetry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stoker.run.events import Event
from stoker.run.lines import clean
from stoker.run.numbers import number, text, whole


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU. None is what its driver does not say."""

    host: str
    index: int
    """In the driver's order."""
    rank: int | None
    """Who computes on it; None where nobody is known to."""
    name: str
    utilization: float | None
    """Per cent of the time in which a kernel ran."""
    memory_used: float | None
    """Bytes, contexts included."""
    memory_total: float | None
    watts: float | None
    celsius: float | None
    t: float
    """Unix seconds, by the host's clock."""


@dataclass(frozen=True, slots=True)
class HostSample:
    """One machine. Sizes in bytes, rates in bytes a second; None is what it does not count."""

    host: str
    cpu_percent: float | None
    memory_used: float | None
    memory_total: float | None
    disk_used: float | None
    disk_total: float | None
    disk_read: float | None
    disk_written: float | None
    network_received: float | None
    network_sent: float | None
    gpus_missing: str
    """Why its GPUs are not sampled; empty where they are."""
    t: float
    """Unix seconds, by the host's clock; 0 before its first sample."""


class Machines:
    """Keeps the latest sample of each GPU and host."""

    def __init__(self) -> None:
        self._gpus: dict[tuple[str, int], Event] = {}
        self._hosts: dict[str, Event] = {}
        self._missing: dict[str, str] = {}

    def take(self, host: str, line: Event) -> None:
        """Take in one line of a host's file."""
        if line["kind"] == "gpu":
            self._gpus[host, whole(line.get("index"))] = line
        elif line["kind"] == "host":
            self._hosts[host] = line
        elif line["kind"] == "gpus":
            why = clean(text(line.get("reason"))) or "not available"
            self._missing[host] = "" if line.get("available") else why

    def gpus(self, ranks: Mapping[tuple[str, int], int]) -> list[GpuSample]:
        """By host and index. `ranks`: who computes on which GPU of which host."""
        return [
            _gpu(host, index, ranks.get((host, index)), line)
            for (host, index), line in sorted(self._gpus.items(), key=lambda item: item[0])
        ]

    def hosts(self) -> list[HostSample]:
        """By name."""
        names: Iterable[str] = sorted(self._hosts.keys() | self._missing.keys())
        return [_host(name, self._hosts.get(name, {}), self._missing.get(name, "")) for name in names]


def _gpu(host: str, index: int, rank: int | None, line: Event) -> GpuSample:
    return GpuSample(
        host=host,
        index=index,
        rank=rank,
        name=clean(text(line.get("name"))),
        utilization=number(line.get("utilization_percent")),
        memory_used=number(line.get("memory_used_bytes")),
        memory_total=number(line.get("memory_total_bytes")),
        watts=number(line.get("power_watts")),
        celsius=number(line.get("temperature_celsius")),
        t=number(line.get("t"), 0.0),
    )


def _host(host: str, line: Event, missing: str) -> HostSample:
    return HostSample(
        host=host,
        cpu_percent=number(line.get("cpu_percent")),
        memory_used=number(line.get("memory_used_bytes")),
        memory_total=number(line.get("memory_total_bytes")),
        disk_used=number(line.get("disk_used_bytes")),
        disk_total=number(line.get("disk_total_bytes")),
        disk_read=number(line.get("disk_read_bytes_per_second")),
        disk_written=number(line.get("disk_written_bytes_per_second")),
        network_received=number(line.get("network_received_bytes_per_second")),
        network_sent=number(line.get("network_sent_bytes_per_second")),
        gpus_missing=missing,
        t=number(line.get("t"), 0.0),
    )
