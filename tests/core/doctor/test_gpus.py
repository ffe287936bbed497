"""Who holds a GPU: without a driver, and with an NVML that is made for the test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stoker.doctor.child import Answer, ask_probe
from stoker.doctor.gpus import examine_gpus

FAKE_NVML = """
from types import SimpleNamespace as Fake

class NVMLError(Exception):
    pass

class NVMLError_NotSupported(NVMLError):
    pass

def nvmlInit(): pass
def nvmlDeviceGetCount(): return 3
def nvmlSystemGetDriverVersion(): return "570.86.15"
def nvmlSystemGetCudaDriverVersion(): return 12080
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(index): return "NVIDIA H100 80GB HBM3"
def nvmlDeviceGetMemoryInfo(index): return Fake(total=85520809984)
def nvmlDeviceGetGraphicsRunningProcesses(index): return []
def nvmlDeviceGetComputeRunningProcesses(index):
    if index == 2:
        raise NVMLError_NotSupported("Not Supported")
    if index == 1:
        return []
    return [Fake(pid=HOLDER, usedGpuMemory=13 * 2**30), Fake(pid=OTHER, usedGpuMemory=None),
            Fake(pid=2**22 + 1, usedGpuMemory=5 * 2**20)]
"""
HOLDER = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
print(flush=True)
time.sleep(99)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """A process that looks as if it computes on a GPU: it has libcuda in memory."""
    library = tmp_path / "libcuda.so.1"
    library.write_bytes(b"\0" * 4096)
    command = [sys.executable, "-S", "-c", HOLDER, str(library)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_each_process_that_holds_a_gpu_is_named_with_its_user_and_memory(
    site: Path, holder: int
) -> None:
    numbers = f"HOLDER = {holder}\nOTHER = {os.getppid()}\n"
    (site / "pynvml.py").write_text(FAKE_NVML + numbers)
    driver, first, second, third, free, unknown = examine_gpus(ask_probe("nvml"))
    assert (driver.status, driver.found) == ("ok", "570.86.15, up to CUDA 12.8, GPUs: 3")
    by_hint = {each.hint: each for each in (first, second, third)}
    held = by_hint[f"kill {holder}, or wait until it ends."]
    process = psutil.Process(holder)
    assert (held.group, held.name, held.status) == ("gpu", "gpu 0", "warning")
    assert held.found == f"held by pid {holder}, {process.username()}, {process.name()}, 13.0 GiB"
    assert (free.name, free.found) == ("gpu 1", "NVIDIA H100 80GB HBM3, held by no process")
    assert unknown.found == "processes are unknown: Not Supported"


def test_nobody_is_told_to_kill_a_process_that_only_has_the_same_number(site: Path, holder: int) -> None:
    # In a container, NVML may give process numbers of the host.
    # Not this process: other tests may have had it load libraries for GPUs.
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        numbers = f"HOLDER = {stranger.pid}\nOTHER = {holder}\n"
        (site / "pynvml.py").write_text(FAKE_NVML + numbers)
        findings = [each for each in examine_gpus(ask_probe("nvml")) if each.name == "gpu 0"]
        stranger.kill()
    elsewhere = [each for each in findings if "of the host or another container" in each.found]
    assert len(elsewhere) == 2
    assert not any("kill" in each.hint for each in elsewhere)
    (visible,) = [each for each in findings if each not in elsewhere]
    assert "memory unknown" in visible.found


def test_without_a_driver_the_reason_is_given(site: Path) -> None:
    source = """
class NVMLError(Exception): pass
class NVMLError_LibraryNotFound(NVMLError): pass
def nvmlInit(): raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")
"""
    (site / "pynvml.py").write_text(source)
    (driver,) = examine_gpus(ask_probe("nvml"))
    assert driver.status == "missing"
    assert "no NVIDIA driver" in driver.found
    assert "docker run --gpus all" in driver.hint


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        ("ModuleNotFoundError", "missing"),
        ("DriverNotLoaded", "warning"),
        ("NoPermission", "warning"),
        ("LibRmVersionMismatch", "error"),
        ("GpuIsLost", "error"),
    ],
)
def test_a_driver_that_cannot_be_asked_is_as_bad_as_its_reason(failure: str, status: str) -> None:
    (driver,) = examine_gpus(Answer({"failure": failure, "message": "GPU is lost"}))
    assert driver.status == status
    assert driver.hint


def test_an_nvml_that_crashes_is_an_error(site: Path) -> None:
    (site / "pynvml.py").write_text("import os\nos.abort()\n")
    (driver,) = examine_gpus(ask_probe("nvml"))
    assert (driver.status, driver.found) == (
        "error",
        "cannot be asked: the process was ended by SIGABRT",
    )
