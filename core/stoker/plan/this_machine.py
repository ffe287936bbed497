"""Which GPU this machine has, asked of the driver. Torch-free."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from stoker.errors import UsageError
from stoker.plan.gpus import CPU, Gpu, find_gpu, recognise

_DRIVER = Path("/proc/driver/nvidia/version")
"""There once the driver is loaded: without it nobody has to be asked."""


def this_gpu() -> Gpu:
    """The type of the first visible GPU, or this machine's processor where none is.

    Raises `UsageError` for a GPU that our table does not know, and for a driver that does not answer.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if not _DRIVER.exists() or visible in ("", "-1"):
        return find_gpu(CPU)
    name, memory = _ask(visible)
    found = recognise(name, memory)
    if found is None:
        raise UsageError(
            f"nothing is known of this machine's {name!r}.", hint="Name the nearest type with --gpu."
        )
    return found


@cache
def _ask(gpu: str) -> tuple[str, int]:
    """Name and bytes of a GPU, by number or UUID, in the driver's words."""
    try:
        import pynvml

        pynvml.nvmlInit()
        by_number = pynvml.nvmlDeviceGetHandleByIndex
        handle = by_number(int(gpu)) if gpu.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID(gpu)
        name, memory = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlDeviceGetMemoryInfo(handle).total
    except Exception as error:  # the library raises types of its own, and is missing on some machines
        raise UsageError(
            f"this machine has an NVIDIA driver that cannot be asked: {error}.",
            hint="Name the type with --gpu; `stoker doctor` says more.",
        ) from error
    return str(name), int(memory)
