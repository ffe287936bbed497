"""GPUs, from the NVIDIA driver's management library (nvidia-ml-py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Gpus:
    """All GPUs of this host, or why there are none to look at."""

    def __init__(self) -> None:
        self.missing = ""
        """Why nothing can be known; empty where it can."""
        self._handles: list[Any] = []
        self._names: list[str] = []
        try:
            import pynvml
        except ModuleNotFoundError:
            self.missing = "nvidia-ml-py is not installed"
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handles = [
                pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
            ]
            self._names = [pynvml.nvmlDeviceGetName(handle) for handle in self._handles]
        except pynvml.NVMLError as error:
            self.missing = str(error)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._handles)

    def look(self) -> Iterator[dict[str, Any]]:
        """One sample of each; what a GPU cannot say is None."""
        for index, (handle, name) in enumerate(zip(self._handles, self._names, strict=True)):
            memory = self._ask(self._nvml.nvmlDeviceGetMemoryInfo, handle)
            rates = self._ask(self._nvml.nvmlDeviceGetUtilizationRates, handle)
            milliwatts = self._ask(self._nvml.nvmlDeviceGetPowerUsage, handle)
            yield {
                "index": index,
                "name": name,
                "utilization_percent": rates and rates.gpu,
                "memory_used_bytes": memory and memory.used,
                "memory_total_bytes": memory and memory.total,
                "power_watts": None if milliwatts is None else milliwatts / 1000,
                "temperature_celsius": self._ask(
                    self._nvml.nvmlDeviceGetTemperature, handle, self._nvml.NVML_TEMPERATURE_GPU
                ),
            }

    def close(self) -> None:
        """Let go of the driver."""
        if not self.missing:
            self._nvml.nvmlShutdown()

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None


def find_index(uuid: str) -> int | None:
    """The number of the GPU with this id (`GPU-...`) in the driver's order; None if it cannot say."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            return int(pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(uuid)))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
