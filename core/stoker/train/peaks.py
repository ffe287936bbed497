"""The most memory that a rank had while it trained, for comparison with its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from stoker.run.context import Run

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Sets VmHWM back to what is resident now: https://docs.kernel.org/filesystems/proc.html."""


class PeakMemory:
    """Made before the model is built; `begin` before the first step, `report` after the last.

    On a CUDA device what torch allocated and reserved at most. On a CPU how much more memory was
    resident at most than before the model was built, files that are mapped left out; nothing where the
    system does not tell.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = _resident()

    def begin(self) -> None:
        """Forget what loading took."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        forget_peak()

    def report(self, run: Run) -> None:
        """One `peak_memory` event of this rank, in bytes."""
        if self._device.type == "cuda":
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
            run.events.write("peak_memory", allocated=allocated, reserved=reserved)
        elif (peak := self._host_peak()) is not None:
            run.events.write("peak_memory", resident=peak)

    def _host_peak(self) -> int | None:
        now = _resident()
        if not {"VmHWM", "VmRSS", "RssFile"} <= now.keys() & self._before.keys():
            return None
        mapped = now["RssFile"] - self._before["RssFile"]
        return max(0, now["VmHWM"] - self._before["VmRSS"] - max(0, mapped))


def forget_peak() -> bool:
    """Let the most that was resident begin anew; whether the system does that."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def most_resident() -> int:
    """Bytes of this process that were resident at most since `forget_peak`, without mapped files.

    0 where the system does not tell.
    """
    now = _resident()
    return max(0, now.get("VmHWM", 0) - now.get("RssFile", 0))


def in_use(name: str) -> int:
    """Bytes of this process by the kernel's name, such as `VmData`; 0 where the system does not tell."""
    return _resident().get(name, 0)


def _resident() -> dict[str, int]:
    """Sizes of this process in bytes, by the kernel's names; empty where there is no /proc."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(number) * 1024 for name, number, _ in fields}
