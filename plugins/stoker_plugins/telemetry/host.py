"""CPU, memory, disk and network of this host."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil


class Host:
    """Differences since the last look, for what the system only counts."""

    def __init__(self, folder: Path) -> None:
        """`folder`: whose file system is looked at."""
        self._folder = folder
        psutil.cpu_percent()  # the first answer is about nothing
        self._counted = _counters()
        self._counted_at = time.monotonic()

    def look(self) -> dict[str, Any]:
        """One sample; bytes a second since the last one, None where the system does not count."""
        counted, now = _counters(), time.monotonic()
        seconds = max(now - self._counted_at, 1e-6)
        rates = {
            f"{name}_bytes_per_second": (counted[name] - before) / seconds if name in counted else None
            for name, before in self._counted.items()
        }
        self._counted, self._counted_at = counted, now
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder))
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_used_bytes": memory.total - memory.available,
            "memory_total_bytes": memory.total,
            "disk_used_bytes": disk.used,
            "disk_total_bytes": disk.total,
            **rates,
        }


def _counters() -> Mapping[str, int]:
    disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
    counted: dict[str, int] = {}
    if disk is not None:
        counted |= {"disk_read": disk.read_bytes, "disk_written": disk.write_bytes}
    if network is not None:
        counted |= {"network_received": network.bytes_recv, "network_sent": network.bytes_sent}
    return counted
