"""The NVIDIA driver and who holds its GPUs, from the answer of the probe `nvml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.doctor.child import Answer
from stoker.doctor.finding import Finding, Status, size_text

_REASONS: dict[str, tuple[Status, str, str]] = {
    "ModuleNotFoundError": (
        "missing",
        "cannot be asked: nvidia-ml-py is not installed",
        "pip install 'stoker[train]'",
    ),
    "LibraryNotFound": (
        "missing",
        "no NVIDIA driver: libnvidia-ml is not found",
        "Install the NVIDIA driver; in a container: docker run --gpus all",
    ),
    "DriverNotLoaded": (
        "warning",
        "installed but not loaded",
        "modprobe nvidia; in a container: docker run --gpus all",
    ),
    "NoPermission": (
        "warning",
        "no permission to ask it",
        "Ask for access to the devices: ls -l /dev/nvidia*",
    ),
    "LibRmVersionMismatch": (
        "error",
        "its library and its kernel module have different versions",
        "Restart the machine: the driver was updated under a running system.",
    ),
}
"""By the name of NVML's error: how bad that is, what it means, what to do."""

_LOOK = "See what the kernel says of it: dmesg | grep -i nvrm"


def examine_gpus(answer: Answer) -> list[Finding]:
    """The driver, and one finding for each process that holds a GPU."""
    report = answer.value
    if report is None:
        return [_finding("driver", "error", f"cannot be asked: {answer.failure}", _LOOK)]
    if report["failure"]:
        unknown: tuple[Status, str, str] = (
            "error",
            f"cannot be asked: {report['message']}",
            _LOOK,
        )
        return [_finding("driver", *_REASONS.get(report["failure"], unknown))]
    found = f"{report['driver']}, up to CUDA {report['cuda']}, GPUs: {len(report['gpus'])}"
    findings = [_finding("driver", "ok", found)]
    for gpu in report["gpus"]:
        findings += _holders(gpu)
    return findings


def _holders(gpu: Mapping[str, Any]) -> list[Finding]:
    name = f"gpu {gpu['index']}"
    if gpu["failure"] and not gpu["processes"]:
        hint = "Nothing to do: this GPU, or a part of one, does not list them."
        return [_finding(name, "warning", f"processes are unknown: {gpu['failure']}", hint)]
    if not gpu["processes"]:
        return [_finding(name, "ok", f"{gpu['name']}, held by no process")]
    return [_holder(name, process) for process in gpu["processes"]]


def _holder(name: str, process: Mapping[str, Any]) -> Finding:
    memory = process["memory_bytes"]
    amount = "memory unknown" if memory is None else size_text(memory)
    pid = process["pid"]
    if not process["visible"]:
        found = f"held by pid {pid} of the host or another container, {amount}"
        return _finding(name, "warning", found, "Wait until it ends, or end it where it runs.")
    found = f"held by pid {pid}, {process['user']}, {process['name']}, {amount}"
    return _finding(name, "warning", found, f"kill {pid}, or wait until it ends.")


def _finding(name: str, status: Status, found: str, hint: str = "") -> Finding:
    return Finding("gpu", name, status, found, hint)
