"""Which GPU a machine has, by its driver; here a driver that is made up, as tests run without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from stoker.errors import UsageError
from stoker.plan import this_machine
from stoker.plan.this_machine import this_gpu

GPUS = {"0": ("NVIDIA H100 80GB HBM3", 85.5e9), "1": ("Tesla T4", 15.8e9), "GPU-ab": ("Voodoo 2", 1e7)}


@pytest.fixture(autouse=True)
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that tells of a driver, and a library that knows `GPUS`."""
    path = tmp_path / "version"
    path.touch()
    monkeypatch.setattr(this_machine, "_DRIVER", path)
    library = ModuleType("pynvml")
    library.nvmlInit = lambda: None  # type: ignore[attr-defined]
    library.nvmlDeviceGetHandleByIndex = lambda number: GPUS[str(number)]  # type: ignore[attr-defined]
    library.nvmlDeviceGetHandleByUUID = lambda uuid: GPUS[uuid]  # type: ignore[attr-defined]
    library.nvmlDeviceGetName = lambda gpu: gpu[0]  # type: ignore[attr-defined]
    library.nvmlDeviceGetMemoryInfo = lambda gpu: SimpleNamespace(total=gpu[1])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", library)
    this_machine._ask.cache_clear()
    yield path
    this_machine._ask.cache_clear()


@pytest.mark.parametrize(
    ("visible", "name"),
    [(None, "h100-80gb"), ("1,0", "t4-16gb"), ("0", "h100-80gb"), ("", "cpu"), ("-1", "cpu")],
)
def test_the_first_visible_gpu_counts(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, name: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_gpu().name == name


def test_without_a_driver_nobody_is_asked(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    driver.unlink()
    assert this_gpu().name == "cpu"


def test_a_gpu_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-ab")
    with pytest.raises(UsageError, match="nothing is known of this machine's 'Voodoo 2'") as caught:
        this_gpu()
    assert "--gpu" in caught.value.hint


def test_a_driver_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(UsageError, match="an NVIDIA driver that cannot be asked"):
        this_gpu()
