"""A run that really gets no memory, because its process may not have more."""

from __future__ import annotations

import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from stoker.errors import DoesNotFitError, ExitCode, StokerError
from stoker.run.context import Run
from stoker.testing import tiny_fit
from stoker.testing.fit import tiny_recipe
from stoker.train import out_of_memory

ROWS = 8192
"""At once they take 1.5 times what the plugin leaves."""


def train(recipe: Path, rows: int) -> subprocess.CompletedProcess[str]:
    settings = (
        "plugins.little_memory={}",
        f"train.micro_batch_size={rows}",
        f"train.batch_size={ROWS}",
        "train.steps=1",
        "data.eval=[]",
    )
    changes = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "stoker", "run", str(recipe), "--fresh", *changes]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_error_names_a_change_and_with_it_the_run_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "site" / "little_memory-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: little_memory\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[stoker.plugins]\nlittle_memory = little_memory_work:LittleMemory\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{metadata.parent}:{Path(__file__).parent}", prepend=":")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    # Allocators that keep or reserve what nobody uses would decide, and another way on each machine.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(1 << 20))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    recipe = tiny_recipe(tmp_path).path
    failed = train(recipe, ROWS)
    said = " ".join((failed.stdout + failed.stderr).split())
    assert failed.returncode == 3, said
    assert "ran out of memory at step 1" in said
    assert "Traceback" not in said
    found = re.search(r"What fits, by the plan: train\.micro_batch_size = (\d+) \(predicted", said)
    assert found, said
    changed = train(recipe, int(found[1]))
    assert changed.returncode == 0, changed.stdout + changed.stderr


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Triton Error [CUDA]: out of memory",
        "NCCL error: Cuda failure 2 'out of memory'",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_every_layer_s_words_for_it_are_known(message: str) -> None:
    assert out_of_memory.is_out_of_memory(RuntimeError(message))
    assert not out_of_memory.is_out_of_memory(ValueError(message))


@pytest.fixture
def tiny_run(tmp_path: Path) -> Run:
    run: Run = tiny_fit(tmp_path, {}, ["train.steps=1", "data.eval=[]"]).run
    return run


def test_planning_that_gets_no_memory_hides_nothing(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(out_of_memory, "make_plan", fails)
    found = out_of_memory.explained(tiny_run, RuntimeError("CUDA out of memory. Tried to allocate"))
    assert isinstance(found, DoesNotFitError)
    assert "CUDA out of memory" in found.message
    assert found.hint == "Lower train.micro_batch_size."


def test_a_full_host_of_a_gpu_is_no_matter_of_the_recipe(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out_of_memory, "_has_gpu", lambda: True)
    found = out_of_memory.explained(tiny_run, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert isinstance(found, StokerError)
    assert found.exit_code == ExitCode.FAILED  # may be started again
    assert "no memory of the host" in found.message


def test_what_led_to_an_error_lets_go_of_its_tensors_too() -> None:
    class Large:
        pass

    kept: list[weakref.ref[Large]] = []

    def allocates() -> None:
        large = Large()
        kept.append(weakref.ref(large))
        raise MemoryError

    def wraps() -> None:
        try:
            allocates()
        except MemoryError as error:
            raise RuntimeError("CUDA out of memory") from error

    with pytest.raises(RuntimeError) as caught:
        wraps()
    out_of_memory.free_frames(caught.value)
    assert kept[0]() is None
