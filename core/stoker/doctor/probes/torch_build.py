"""What can torch do here? Answer: its build, its process groups and its devices."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from stoker.doctor.probes.answer import answer, first_line

if TYPE_CHECKING:
    import torch


def describe_torch() -> dict[str, Any]:
    """Import torch and try it on each device."""
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name == "torch":
            return {"installed": False}
        return {"installed": True, "failure": first_line(error)}
    except BaseException as error:
        return {"installed": True, "failure": first_line(error)}
    return {
        "installed": True,
        "failure": "",
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "no_gpu_reason": _no_gpu_reason(),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "process_groups": _process_groups(),
        "devices": [_host_device("cpu", _cpu_name()), *_gpus()],
    }


def _no_gpu_reason() -> str:
    import torch

    if torch.cuda.is_available() or not torch.backends.cuda.is_built():
        return ""
    try:
        torch.cuda.init()
    except Exception as error:
        return first_line(error)
    return "torch counts no device"


def _process_groups() -> list[str]:
    from torch import distributed

    if not distributed.is_available():
        return []
    asked = {"gloo": distributed.is_gloo_available, "nccl": distributed.is_nccl_available}
    return [name for name, is_available in asked.items() if is_available()]


def _host_device(kind: str, name: str) -> dict[str, Any]:
    """A device that shares the memory of the machine."""
    import torch

    memory = psutil.virtual_memory()
    device = torch.device(kind, 0)
    return {
        "kind": kind,
        "index": 0,
        "name": name,
        "memory_total_bytes": memory.total,
        "memory_free_bytes": memory.available,
        "compute_capability": None,
        "bf16": _failure_of_product(device, torch.bfloat16) == "",
        "fp16": _failure_of_product(device, torch.float16) == "",
        "failure": _failure_of_product(device, torch.float32),
    }


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line)
    return next(names, platform.machine())


def _gpus() -> list[dict[str, Any]]:
    import torch

    if torch.cuda.is_available():
        return [_cuda_device(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        return [_host_device("mps", f"Apple {platform.machine()}")]
    return []


def _cuda_device(index: int) -> dict[str, Any]:
    import torch

    device = torch.device("cuda", index)
    properties = torch.cuda.get_device_properties(device)
    capability = torch.cuda.get_device_capability(device)
    # Older GPUs multiply bf16 too, in software and slowly: runs refuse it there.
    has_bf16 = capability >= (8, 0) and _failure_of_product(device, torch.bfloat16) == ""
    return {
        "kind": "cuda",
        "index": index,
        "name": properties.name,
        "memory_total_bytes": properties.total_memory,
        "memory_free_bytes": _free_bytes(device),
        "compute_capability": ".".join(map(str, capability)),
        "bf16": has_bf16,
        "fp16": _failure_of_product(device, torch.float16) == "",
        "failure": _failure_of_product(device, torch.float32),
    }


def _free_bytes(device: torch.device) -> int | None:
    import torch

    try:
        return int(torch.cuda.mem_get_info(device)[0])
    except Exception:
        return None


def _failure_of_product(device: torch.device, dtype: torch.dtype) -> str:
    """Why a small matrix product does not work; empty if it does."""
    import torch

    try:
        ones = torch.ones(16, 16, device=device, dtype=dtype)
        product = (ones @ ones).sum().item()
    except Exception as error:
        return first_line(error)
    return "" if product == 16**3 else f"a product of ones is wrong: {product}"


if __name__ == "__main__":
    answer(describe_torch)
