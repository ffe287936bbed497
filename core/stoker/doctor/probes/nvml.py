"""Who holds a GPU? Answer: the NVIDIA driver, its GPUs, and the processes on each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from stoker.doctor.probes.answer import answer, first_line


def describe_gpus() -> dict[str, Any]:
    """Ask the driver's management library. `failure` says why it could not be asked."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return {"failure": "ModuleNotFoundError", "message": "nvidia-ml-py is not installed"}
    except BaseException as error:
        return {"failure": type(error).__name__, "message": first_line(error)}
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        return {
            "failure": "",
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "cuda": _cuda_version(pynvml.nvmlSystemGetCudaDriverVersion()),
            "gpus": [_gpu(pynvml, index) for index in range(count)],
        }
    except pynvml.NVMLError as error:
        return {"failure": type(error).__name__.removeprefix("NVMLError_"), "message": str(error)}


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _gpu(pynvml: Any, index: int) -> dict[str, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    held: dict[int, int | None] = {}
    failure = ""
    for ask in (
        pynvml.nvmlDeviceGetGraphicsRunningProcesses,
        pynvml.nvmlDeviceGetComputeRunningProcesses,
    ):
        try:
            held |= {each.pid: each.usedGpuMemory for each in ask(handle)}
        except pynvml.NVMLError as error:
            failure = str(error)
    processes = [_process(pid, memory) for pid, memory in sorted(held.items())]
    name = pynvml.nvmlDeviceGetName(handle)
    return {
        "index": index,
        "name": name,
        "memory_bytes": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
        "processes": processes,
        "failure": failure,
    }


def _process(pid: int, memory_bytes: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"pid": pid, "memory_bytes": memory_bytes, "visible": False}
    try:
        process = psutil.Process(pid)
        about = {"user": process.username(), "name": process.name()}
    except (psutil.Error, OSError, KeyError):
        return found
    return found | about | {"visible": True} if _may_hold_a_gpu(pid) else found


def _may_hold_a_gpu(pid: int) -> bool:
    """Whether this process is meant. In a container, the driver may give numbers of the host."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_bytes()
    except OSError:
        # Somebody else's: only its owner could end it anyway.
        return True
    return b"libcuda" in maps or b"nvidia" in maps


if __name__ == "__main__":
    answer(describe_gpus)
