"""Torch and what it can compute on, from the answer of the probe `torch_build`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stoker.doctor.child import Answer
from stoker.doctor.finding import Finding, Status, size_text

_INSTALL_DRIVER = "Install the NVIDIA driver; in a container: docker run --gpus all"
_UPDATE_DRIVER = "Update the NVIDIA driver, or install a torch that is built for an older CUDA."
_INSTALL_CUDA_BUILD = "To use one, install a torch for CUDA: pip install --force-reinstall torch"


def devices_of(torch: Answer) -> list[dict[str, Any]]:
    """The devices that torch sees; none where it cannot be imported."""
    devices: list[dict[str, Any]] = (torch.value or {}).get("devices", [])
    return devices


def examine_devices(torch: Answer, gpus: Answer) -> list[Finding]:
    """Torch's build, its process groups, and one finding for each device."""
    report = torch.value or {"installed": True, "failure": torch.failure}
    if not report["installed"]:
        return [_finding("torch", "missing", "not installed", "pip install 'stoker[train]'")]
    if report["failure"]:
        hint = "pip install --force-reinstall 'stoker[train]'"
        return [_finding("torch", "error", f"import fails: {report['failure']}", hint)]
    findings = [
        _finding("torch", "ok", f"{report['version']}, built for {_built_for(report)}"),
        *(_device(device) for device in report["devices"]),
    ]
    if len(report["devices"]) < 2:
        findings.append(_no_gpu(report, gpus.value or {}))
    return [*findings, _process_groups(report)]


def _built_for(report: Mapping[str, Any]) -> str:
    if report["cuda"]:
        return f"CUDA {report['cuda']}"
    return f"ROCm {report['hip']}" if report["hip"] else "CPU"


def _device(device: Mapping[str, Any]) -> Finding:
    name = device["kind"] if device["kind"] == "cpu" else f"{device['kind']} {device['index']}"
    parts = [device["name"]]
    if device["memory_free_bytes"] is not None and device["kind"] != "cpu":
        total = size_text(device["memory_total_bytes"])
        parts.append(f"{size_text(device['memory_free_bytes'])} of {total} free")
    if device["compute_capability"]:
        parts.append(f"compute capability {device['compute_capability']}")
    parts += [f"{dtype} {'works' if device[dtype] else 'does not'}" for dtype in ("bf16", "fp16")]
    if device["failure"]:
        found = f"{device['name']}: {device['failure']}"
        return _finding(name, "error", found, _failure_hint(device["failure"]))
    if not device["bf16"]:
        hint = "Set train.precision to 'fp16_mixed' or 'fp32'."
        return _finding(name, "warning", ", ".join(parts), hint)
    return _finding(name, "ok", ", ".join(parts))


def _failure_hint(failure: str) -> str:
    if "out of memory" in failure:
        return "End the processes that hold it, or wait: they are listed under gpu."
    if "no kernel image" in failure:
        return "Install a torch that is built for this compute capability."
    return "Reset the GPU, or ask whoever runs the machine: dmesg | grep -i xid"


def _no_gpu(report: Mapping[str, Any], driver: Mapping[str, Any]) -> Finding:
    reason, gpus = report["no_gpu_reason"], driver.get("gpus", ())
    has_gpu_build = report["cuda"] or report["hip"]
    if "too old" in reason:
        return _finding("gpu", "error", f"not usable: {reason}", _UPDATE_DRIVER)
    if not gpus:
        found = f"none: {reason}" if reason else "none"
        hint = _INSTALL_DRIVER if has_gpu_build else _INSTALL_CUDA_BUILD
        return _finding("gpu", "missing", found, hint)
    seen = f"the driver has {len(gpus)}, torch sees none"
    if not has_gpu_build:
        return _finding("gpu", "warning", f"{seen}: it is a build for CPU", _INSTALL_CUDA_BUILD)
    if report["visible_devices"] is not None:
        found = f"{seen}: CUDA_VISIBLE_DEVICES is {report['visible_devices']!r}"
        return _finding("gpu", "warning", found, "unset CUDA_VISIBLE_DEVICES")
    return _finding("gpu", "error", f"{seen}: {reason}", _UPDATE_DRIVER)


def _process_groups(report: Mapping[str, Any]) -> Finding:
    available = report["process_groups"]
    found = ", ".join(available) or "none"
    needed = "nccl" if any(device["kind"] == "cuda" for device in report["devices"]) else "gloo"
    if needed in available:
        return _finding("process groups", "ok", found)
    hint = f"This torch trains on one rank only; for more, install a build with {needed}."
    return _finding("process groups", "warning", f"{found}; {needed} is not in this build", hint)


def _finding(name: str, status: Status, found: str, hint: str = "") -> Finding:
    return Finding("torch", name, status, found, hint)
