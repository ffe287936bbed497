"""Torch and its devices: here, and with a torch that is made for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.doctor.child import Answer, ask_probe
from stoker.doctor.devices import devices_of, examine_devices
from stoker.doctor.finding import Finding

NO_DRIVER = Answer({"failure": "LibraryNotFound", "message": ""})
ONE_GPU = Answer({"failure": "", "driver": "535.1", "cuda": "12.2", "gpus": [{"index": 0}]})
CPU: dict[str, Any] = {
    "kind": "cpu",
    "index": 0,
    "name": "A CPU",
    "memory_total_bytes": 2**34,
    "memory_free_bytes": 2**33,
    "compute_capability": None,
    "bf16": True,
    "fp16": True,
    "failure": "",
}
FAKE_TORCH = """
from types import SimpleNamespace as Fake
__version__ = "2.9.0+cu128"
float32, bfloat16, float16 = "float32", "bfloat16", "float16"
version = Fake(cuda="12.8", hip=None)
backends = Fake(cuda=Fake(is_built=lambda: True), mps=Fake(is_available=lambda: False))
distributed = Fake(is_available=lambda: True, is_gloo_available=lambda: True,
                   is_nccl_available=lambda: True)
import sys
sys.modules["torch.distributed"] = distributed
NAMES = ["NVIDIA H100 80GB HBM3", "Tesla V100-SXM2-32GB", "Tesla K80"]
CAPABILITIES = [(9, 0), (7, 0), (3, 7)]

class device(Fake):
    def __init__(self, type, index=0):
        super().__init__(type=type, index=index)

class Product:
    def __matmul__(self, other):
        return Fake(sum=lambda: Fake(item=lambda: 4096.0))

def ones(*shape, device, dtype):
    if device.type == "cuda" and device.index == 2:
        raise RuntimeError("CUDA error: no kernel image is available\\nfor execution on the device")
    return Product()

cuda = Fake(
    is_available=lambda: True,
    device_count=lambda: 3,
    get_device_properties=lambda d: Fake(name=NAMES[d.index], total_memory=80 * 2**30),
    get_device_capability=lambda d: CAPABILITIES[d.index],
    mem_get_info=lambda d: (79 * 2**30, 80 * 2**30),
)
"""


def report(**changes: Any) -> Answer:
    about = {
        "installed": True,
        "failure": "",
        "version": "2.13.0",
        "cuda": "13.0",
        "hip": None,
        "no_gpu_reason": "",
        "visible_devices": None,
        "process_groups": ["gloo", "nccl"],
        "devices": [CPU],
    }
    return Answer({**about, **changes})


def found(torch: Answer, gpus: Answer = NO_DRIVER) -> dict[str, Finding]:
    findings = examine_devices(torch, gpus)
    assert {each.group for each in findings} == {"torch"}
    return {each.name: each for each in findings}


def test_the_torch_of_this_environment_computes_on_the_cpu() -> None:
    torch = ask_probe("torch_build")
    cpu = devices_of(torch)[0]
    assert cpu["kind"] == "cpu"
    assert (cpu["bf16"], cpu["fp16"], cpu["failure"]) == (True, True, "")
    assert cpu["memory_free_bytes"] <= cpu["memory_total_bytes"]
    findings = found(torch)
    assert findings["torch"].status == findings["cpu"].status == "ok"
    assert "gloo" in findings["process groups"].found


def test_gpus_are_listed_with_memory_capability_and_what_works(site: Path) -> None:
    (site / "torch.py").write_text(FAKE_TORCH)
    torch = ask_probe("torch_build")
    assert torch.failure == ""
    findings = found(torch, ONE_GPU)
    assert findings["torch"].found == "2.9.0+cu128, built for CUDA 12.8"
    assert findings["process groups"].found == "gloo, nccl"
    assert findings["cuda 0"].found == (
        "NVIDIA H100 80GB HBM3, 79.0 GiB of 80.0 GiB free, compute capability 9.0, bf16 works, "
        "fp16 works"
    )
    assert findings["cuda 1"].status == "warning"
    assert "bf16 does not" in findings["cuda 1"].found
    assert "fp16_mixed" in findings["cuda 1"].hint
    assert findings["cuda 2"].status == "error"
    assert "no kernel image is available" in findings["cuda 2"].found
    assert "built for this compute capability" in findings["cuda 2"].hint
    assert "gpu" not in findings
    assert [device["bf16"] for device in devices_of(torch)] == [True, True, False, False]


def test_without_torch_there_are_no_devices_and_the_extra_is_named() -> None:
    torch = Answer({"installed": False})
    assert devices_of(torch) == []
    (finding,) = examine_devices(torch, NO_DRIVER)
    assert (finding.status, finding.hint) == ("missing", "pip install 'stoker[train]'")


@pytest.mark.parametrize(
    "torch",
    [Answer(None, "no answer"), Answer({"installed": True, "failure": "no answer"})],
    ids=["crashed", "raised"],
)
def test_a_torch_that_cannot_be_imported_is_an_error(torch: Answer) -> None:
    assert devices_of(torch) == []
    (finding,) = examine_devices(torch, NO_DRIVER)
    assert (finding.status, finding.found) == ("error", "import fails: no answer")


def test_a_machine_without_a_gpu_is_told_how_one_would_be_seen() -> None:
    reason = "RuntimeError: Found no NVIDIA driver on your system."
    gpu = found(report(no_gpu_reason=reason))["gpu"]
    assert gpu.status == "missing"
    assert gpu.found == f"none: {reason}"
    assert "docker run --gpus all" in gpu.hint
    assert "torch for CUDA" in found(report(cuda=None))["gpu"].hint


def test_a_driver_that_is_too_old_is_an_error() -> None:
    reason = "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."
    gpu = found(report(no_gpu_reason=reason), ONE_GPU)["gpu"]
    assert gpu.status == "error"
    assert gpu.hint.startswith("Update the NVIDIA driver")


def test_a_gpu_that_torch_does_not_see_is_explained() -> None:
    for_cpu = found(report(cuda=None, process_groups=["gloo"]), ONE_GPU)["gpu"]
    assert for_cpu.status == "warning"
    assert for_cpu.found.endswith("a build for CPU")
    hidden = found(report(visible_devices=""), ONE_GPU)["gpu"]
    assert (hidden.status, hidden.hint) == ("warning", "unset CUDA_VISIBLE_DEVICES")
    broken = found(report(no_gpu_reason="RuntimeError: CUDA unknown error"), ONE_GPU)["gpu"]
    assert broken.status == "error"
    assert "CUDA unknown error" in broken.found


def test_gpus_without_nccl_train_on_one_rank() -> None:
    gpu = {**CPU, "kind": "cuda", "name": "A GPU", "compute_capability": "9.0"}
    groups = found(report(devices=[CPU, gpu], process_groups=["gloo"]))["process groups"]
    assert groups.status == "warning"
    assert "nccl is not in this build" in groups.found
