"""What plugin `telemetry` samples, read as it grows: the lines of all hosts, in the order of time."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from stoker.run.events import Event, EventTail, read_end, start_of_attempt
from stoker.run.lines import clean, format_bytes, format_seconds
from stoker.run.machines import GpuSample, HostSample, Machines
from stoker.run.numbers import number
from stoker.run.paces import RankPace, RanksView

KINDS: Final = ("rank", "gpu", "host", "gpus")
"""`kind` of telemetry lines; no event has one of these."""


class TelemetryTail:
    """New lines of a folder of telemetry files, each with the `host` that its file is called after."""

    def __init__(self, folder: Path, since_attempt: int = 0) -> None:
        """Begins where lines of attempts from `since_attempt` on may be; earlier ones may come too."""
        self._folder = folder
        self._since_attempt = since_attempt
        self._tails: dict[str, EventTail] = {}

    def read(self) -> list[Event]:
        """Lines that were completed since the last call, by time; none while there is no folder."""
        for path in sorted(self._folder.glob("*.jsonl")):
            if path.stem not in self._tails:
                self._tails[path.stem] = EventTail(path, start_of_attempt(path, self._since_attempt))
        lines = [
            {**line, "host": clean(host)} for host, tail in self._tails.items() for line in tail.read()
        ]
        return sorted(lines, key=lambda line: number(line.get("t"), 0.0))


def read_latest(folder: Path, num_bytes: int = 512_000) -> TelemetryView:
    """The latest samples, as far as the ends of the files tell; none of a file that cannot be read."""
    view, lines = TelemetryView(), list[Event]()
    for path in sorted(folder.glob("*.jsonl")):
        with suppress(OSError):
            lines += [{**line, "host": clean(path.stem)} for line in read_end(path, num_bytes)]
    for line in sorted(lines, key=lambda line: number(line.get("t"), 0.0)):
        view.take(line)
    return view


class TelemetryView:
    """The latest samples of ranks, GPUs and hosts, and lines about them for people."""

    def __init__(self) -> None:
        self.ranks = RanksView(lambda: 0.0)
        self.machines = Machines()

    def take(self, line: Event) -> None:
        """Take in one line with its host."""
        host = str(line.get("host", ""))
        if line["kind"] == "rank":
            self.ranks.take(host, line)
        elif line["kind"] in KINDS:
            self.machines.take(host, line)

    @property
    def gpus(self) -> list[GpuSample]:
        """By host and index."""
        return self.machines.gpus(self.ranks.gpu_ranks())

    def straggler_line(self) -> str | None:
        """Which rank the others wait for, and why; None where that is not clear."""
        rank = self.ranks.straggler
        if rank is None:
            return None
        return f"rank {rank} on {self.ranks.pace(rank).host} is slow: it {self.ranks.why}"

    def lines(self) -> list[str]:
        """One for each rank with its GPU, each GPU without a rank, and each host."""
        gpus = {gpu.rank: gpu for gpu in self.gpus if gpu.rank is not None}
        lines = [self._rank_line(pace, gpus.get(pace.rank)) for pace in self.ranks.paces]
        lines += [f"GPU {_gpu_words(gpu)} on {gpu.host}" for gpu in self.gpus if gpu.rank is None]
        return lines + [_host_line(host) for host in self.machines.hosts()]

    def _rank_line(self, pace: RankPace, gpu: GpuSample | None) -> str:
        parts = [f"rank {pace.rank} on {pace.host}"]
        if pace.step_seconds is not None:
            parts.append(f"step {_seconds(pace.step_seconds)}")
        if pace.wait_seconds is not None:
            parts.append(f"waits {_seconds(pace.wait_seconds)}")
        if pace.mfu is not None:
            parts.append(f"MFU {pace.mfu:.0%}")
        if pace.hfu is not None:
            parts.append(f"HFU {pace.hfu:.0%}")
        if gpu is not None:
            parts.append(f"GPU {_gpu_words(gpu)}")
        if pace.rank == self.ranks.straggler:
            parts.append("SLOW")
        return "  ".join(parts)


def _gpu_words(gpu: GpuSample) -> str:
    """`2  99 %  64.6 GB of 85.5 GB  402 W  83 C`: what the driver says."""
    parts = [str(gpu.index)]
    if gpu.utilization is not None:
        parts.append(f"{gpu.utilization:.0f} %")
    if gpu.memory_used is not None and gpu.memory_total is not None:
        parts.append(f"{format_bytes(gpu.memory_used)} of {format_bytes(gpu.memory_total)}")
    if gpu.watts is not None:
        parts.append(f"{gpu.watts:.0f} W")
    if gpu.celsius is not None:
        parts.append(f"{gpu.celsius:.0f} C")
    return "  ".join(parts)


def _host_line(host: HostSample) -> str:
    parts = [f"host {host.host}"]
    if host.cpu_percent is not None:
        parts.append(f"CPU {host.cpu_percent:.0f} %")
    for name, used, total in (
        ("memory", host.memory_used, host.memory_total),
        ("disk", host.disk_used, host.disk_total),
    ):
        if used is not None and total is not None:
            parts.append(f"{name} {format_bytes(used)} of {format_bytes(total)}")
    if host.gpus_missing:
        parts.append(f"no GPUs: {host.gpus_missing}")
    return "  ".join(parts)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 60 else format_seconds(seconds)
